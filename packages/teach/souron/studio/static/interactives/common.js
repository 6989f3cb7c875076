// What all interactives share: the guess, asking the studio, colours, drawing numbers, playing a recording,
// the state in the link.
import { tour } from "./tour.js";

/** @import { Box, Exported, Tools } from "../../types.d.ts" */

const variable = (name) => (name === "muted" ? "--faint" : `--${name}`);

// "ink", "paper", "panel", "rule", "muted", "accent", "positive", "negative", "class0" to "class9":
// of the studio's style sheets, as they are now (light or dark, with more contrast)
export const colour = (name) => getComputedStyle(document.body).getPropertyValue(variable(name)).trim();

// the same for an SVG, where it follows light and dark by itself
export const tint = (name) => `var(${variable(name)})`;

// the style sheet of the interactives, loaded once
let styled = null;
const dressed = () => (styled ??= new Promise((done) => {
  const style = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/static/interactives/interactives.css" });
  style.onload = style.onerror = done;
  document.head.append(style);
}));

// "{n} steps" with {n: 3} -> "3 steps"
export const fill = (text, fields) => text.replace(/\{(\w+)\}/g, (whole, name) => fields[name] ?? whole);

// base64 -> bytes
export const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

// bytes -> base64
export const text64 = (values) => btoa(String.fromCharCode(...values));

const grey = () => (value) => [value, value, value];
// "#d55e00" -> [213, 94, 0]
const parts = (hex) => [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
// 0 is orange, the middle the paper, 255 blue: seen with every sort of colour blindness
const both = (pale) => {
  const [middle, below, above] = ["paper", "negative", "positive"].map((name) => parts(colour(name)));
  return (value) => {
    const share = pale * Math.abs(value - 127.5) / 127.5, end = value < 127.5 ? below : above;
    return middle.map((part, i) => Math.round(part + (end[i] - part) * share));
  };
};

// a canvas that was asked for no other context always has this one
/** @type {(canvas: HTMLCanvasElement | OffscreenCanvas) => any} */
export const context2d = (canvas) => canvas.getContext("2d");

// bytes of (height, width) as a picture that fills the canvas, or the box {x, y, width, height} in it;
// ``pale`` below 1 leaves what is drawn over it to be seen
/** @type {(canvas: any, values: any, width: number, height: number, look?: { signed?: boolean, pale?: number, box?: Box | null }) => void} */
export const paint = (canvas, values, width, height, { signed = false, pale = 1, box = null } = {}) => {
  const small = new OffscreenCanvas(width, height);
  const context = context2d(small);
  const image = context.createImageData(width, height);
  const mixed = (signed ? both : grey)(pale);
  for (let i = 0; i < width * height; i++) {
    image.data.set([...mixed(values[i]), 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  const place = box ?? { x: 0, y: 0, width: canvas.width, height: canvas.height };
  const target = canvas.getContext("2d");
  target.imageSmoothingEnabled = false;
  target.drawImage(small, place.x, place.y, place.width, place.height);
};

// paper on the whole canvas
export const clear = (canvas) => {
  const context = canvas.getContext("2d");
  context.fillStyle = colour("paper");
  context.fillRect(0, 0, canvas.width, canvas.height);
};

// a point, in two shapes, for those who do not see the colours apart
export const mark = (context, x, y, kind, size = 4) => {
  context.fillStyle = colour(`class${kind % 10}`);
  context.strokeStyle = colour("paper");
  context.lineWidth = 1;
  context.beginPath();
  if (kind % 2) context.rect(x - size, y - size, 2 * size, 2 * size);
  else context.arc(x, y, size, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
};

// the same text for the same request, whatever the order of its keys
const canonical = (asked) => JSON.stringify(asked, (_key, value) => (
  value !== null && typeof value === "object" && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))) : value));

const object = (text) => {
  try {
    const found = JSON.parse(text);
    return found !== null && typeof found === "object" && !Array.isArray(found) ? found : {};
  } catch { return {}; }
};

// what the link holds of that interactive: "#NAME?field=value&…", a script's own state under "_"
const linked = (name) => {
  const [whose, query] = location.hash.slice(1).split(/\?(.*)/s);
  if (whose !== name) return null;
  const fields = new URLSearchParams(query);
  return { fields, kept: object(fields.get("_") ?? "{}") };
};

const putField = (field, value) => {
  if (value === null || field.type === "file") return;
  if (field.type === "checkbox") field.checked = value === "1";
  else if (field.type === "radio") field.checked = field.value === value;
  else if (!field.options || [...field.options].some((option) => option.value === value)) field.value = value;
};

const fieldsOf = (stage) => {
  const fields = new URLSearchParams();
  for (const field of stage.querySelectorAll("[name]")) {
    if (field.type === "checkbox") fields.set(field.name, field.checked ? "1" : "0");
    else if (field.type === "radio" ? field.checked : field.type !== "file") fields.set(field.name, field.value);
  }
  return fields;
};

// only those values of fields whose answers a file holds; a slider becomes a list
const limit = (stage, settings) => {
  for (const [name, values] of Object.entries(settings)) {
    const field = stage.querySelector(`[name="${name}"]`), texts = values.map(String);
    if (field.options) {
      for (const option of [...field.options]) if (!texts.includes(option.value)) option.remove();
      continue;
    }
    const list = Object.assign(document.createElement("select"), { name });
    list.append(...texts.map((text) => new Option(text, text, false, text === field.value)));
    field.parentElement.querySelector("output").remove();
    field.replaceWith(list);
  }
};

// a file that was exported holds the answers to ``exported.answers``, pairs of a request and its
// answer, and the script as ``exported.start``
/** @type {(root: any, exported?: Exported | null) => Promise<void>} */
export const begin = async (root, exported = null) => {
  const name = root.dataset.interactive;
  const words = JSON.parse(root.dataset.words);
  const language = document.documentElement.lang;
  const stage = root.querySelector(".stage"), play = stage.querySelector(".play");
  const original = play.cloneNode(true);
  const looks = exported ? null : dressed();
  const one = (selector) => root.querySelector(selector);
  const said = one(".said");
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let repaints = [];
  const tools = /** @type {Tools} */ ({
    words,
    one,
    colour,
    recorded: exported !== null,
    kept: {},
    field: (field) => one(`.play [name="${field}"]`),
    canvas: (canvas) => one(`[data-canvas="${canvas}"]`),
    plot: (plot) => one(`[data-plot="${plot}"]`),
    part: (part) => one(`.play [data-part="${part}"]`),
    say: (text) => { said.textContent = text; },
    on: (does, act) => one(`[data-do="${does}"]`).addEventListener("click", act),
    show: (place, text) => { one(`.play [data-part="${place}"]`).textContent = text; },
    // ``draw`` is called again where light turns to dark, or a screen is turned
    repaint: (draw) => { repaints.push(draw); },
  });

  // newest wins: an older answer is thrown away
  let asked = 0;
  const answers = new Map((exported?.answers ?? []).map(([what, found]) => [canonical(what), found]));
  const fromRecord = (what) => {
    const found = answers.get(canonical(what));
    tools.say(found ? "" : words.unrecorded);
    return found ? structuredClone(found) : null;
  };
  tools.ask = async (what) => {
    const mine = ++asked;
    if (tools.recorded) return fromRecord(what);
    root.setAttribute("aria-busy", "true");
    tools.say(words.busy);
    try {
      const answered = await fetch(`/interactive/${language}/${name}`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(what),
      });
      const found = await answered.json();
      if (mine !== asked) return null;
      tools.say(answered.ok ? "" : `${words.failed}: ${found.detail}`);
      return answered.ok ? found : null;
    } catch {
      if (mine === asked) tools.say(document.getElementById("wrong").dataset.unanswered ?? "");
      return null;
    } finally {
      if (mine === asked) root.removeAttribute("aria-busy");
    }
  };

  // a recording of ``count`` frames, drawn by ``draw(place)``
  let frame = null; // of the link, until something is pressed
  tools.player = (draw) => {
    const bar = tools.field("frame"), button = one('[data-do="play"]');
    let clock = null;
    const go = (place) => {
      bar.value = Math.min(Math.max(place, 0), Number(bar.max));
      draw(Number(bar.value));
    };
    const stop = () => {
      clearInterval(clock);
      clock = null;
      button.textContent = words.play;
    };
    const start = () => {
      stop();
      if (Number(bar.value) === Number(bar.max)) go(0);
      button.textContent = words.pause;
      clock = setInterval(() => {
        if (!bar.isConnected || Number(bar.value) >= Number(bar.max)) stop();
        else go(Number(bar.value) + 1);
      }, tools.pace ?? 180);
    };
    button.addEventListener("click", () => (clock === null ? start() : stop()));
    one('[data-do="earlier"]').addEventListener("click", () => { stop(); go(Number(bar.value) - 1); });
    one('[data-do="later"]').addEventListener("click", () => { stop(); go(Number(bar.value) + 1); });
    bar.addEventListener("input", () => { stop(); draw(Number(bar.value)); });
    tools.repaint(() => draw(Number(bar.value)));
    return {
      // with reduced motion the end is shown in place of the film
      load: (count, film = true) => {
        stop();
        bar.max = count - 1;
        const shown = frame;
        frame = null;
        go(shown ?? (film && still.matches ? count - 1 : 0));
        if (film && shown === null && !still.matches) start();
      },
      go,
      stop,
    };
  };

  const showSliders = () => {
    for (const range of play.querySelectorAll("label.slide input")) {
      const shown = range.parentElement.querySelector("output");
      const show = () => { shown.textContent = range.value; };
      range.addEventListener("input", show);
      show();
    }
  };

  // the state in the link; a course's large type has the address for itself
  let clock = null;
  const link = () => {
    const fields = fieldsOf(play);
    if (Object.keys(tools.kept).length) fields.set("_", JSON.stringify(tools.kept));
    return `${location.pathname}${location.search}#${name}?${fields}`;
  };
  const write = (instead) => {
    clearTimeout(clock);
    if (!play.isConnected || /^#(beamer|speaker)/.test(location.hash)) return;
    if (link() === location.pathname + location.search + location.hash) return;
    history[instead ? "replaceState" : "pushState"](null, "", link());
  };
  tools.keep = (more) => {
    Object.assign(tools.kept, more);
    clearTimeout(clock);
    if (touched) clock = setTimeout(() => write(true), 300);
  };
  play.addEventListener("change", (event) => { if (event.target.name) write(false); });
  let touched = false;
  for (const kind of ["pointerdown", "keydown", "click", "change"]) {
    play.addEventListener(kind, () => { touched = true; frame = null; }, true);
  }

  const point = tour(root, words, fill, tools.say);
  let runs = 0, started = false;
  const run = async (found) => {
    const mine = ++runs;
    asked++;
    root.removeAttribute("aria-busy");
    delete root.dataset.ready;
    const active = /** @type {any} */ (document.activeElement);
    const focused = play.contains(active) ? active.name : "";
    if (mine > 1) play.replaceChildren(...original.cloneNode(true).childNodes);
    repaints = [];
    tools.kept = found?.kept ?? {};
    if (exported) limit(play, exported.settings);
    for (const field of found ? play.querySelectorAll("[name]") : []) putField(field, found.fields.get(field.name));
    frame = found?.fields.get("frame") ?? null;
    showSliders();
    tools.say("");
    if (focused) tools.field(focused)?.focus();
    const { start } = exported ?? await import(`/static/interactives/${name}.js`);
    try {
      if (mine === runs) await start(root, tools);
    } catch (error) {
      tools.say(`${words.failed}: ${error.message}`); // an old link may hold what the script does not know
      throw error;
    }
    if (mine === runs) {
      point();
      root.dataset.ready = "";
    }
  };

  one("[data-link]").addEventListener("click", async () => {
    const whole = new URL(link(), location.href).href;
    try {
      await navigator.clipboard.writeText(whole);
      tools.say(words.copied);
    } catch { tools.say(whole); }
  });

  let guess = null;
  const open = async () => {
    stage.hidden = one(".bar").hidden = false;
    if (started) return;
    started = true;
    await looks;
    await run(linked(name));
  };
  for (const radio of root.querySelectorAll(".guess input")) {
    radio.addEventListener("change", () => { guess = radio; open(); });
  }
  tools.on("skip", open);
  one(".answer").addEventListener("toggle", () => {
    if (!guess) return;
    const text = guess.value === root.dataset.right ? words.right : words.wrong;
    one(".guessed").textContent = fill(text, { guess: guess.parentElement.textContent.trim() });
  });
  addEventListener("popstate", () => {
    if (!root.isConnected) return;
    if (started && (linked(name) || !location.hash)) run(linked(name));
    else if (linked(name)) open();
  });
  const recolour = () => { if (root.isConnected) repaints.forEach((draw) => draw()); };
  new MutationObserver(recolour).observe(document.body, { attributes: true, attributeFilter: ["class"] });
  for (const query of ["(prefers-contrast: more)", "(orientation: portrait)"]) matchMedia(query).addEventListener("change", recolour);
  if (linked(name)) await open();
};
