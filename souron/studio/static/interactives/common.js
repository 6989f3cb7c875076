// What all interactives share: the guess, asking the studio, drawing numbers, playing a recording.
const style = document.createElement("link");
style.rel = "stylesheet";
style.href = "/static/interactives/interactives.css";
document.head.append(style);

export const COLOURS = ["#005a92", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f5a24", "#b59d00", "#6a3d9a", "#5b6670"];

// "{n} steps" with {n: 3} -> "3 steps"
export const fill = (text, fields) => text.replace(/\{(\w+)\}/g, (whole, name) => fields[name] ?? whole);

// base64 -> bytes
export const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

const grey = (value) => [value, value, value];
// 0 is orange, the middle white, 255 blue: seen with every sort of colour blindness
const both = (value, pale) => {
  const share = pale * Math.abs(value - 127.5) / 127.5;
  const end = value < 127.5 ? [213, 94, 0] : [0, 90, 146];
  return end.map((part) => Math.round(255 + (part - 255) * share));
};

// bytes of (height, width) as a picture that fills the canvas, or the box {x, y, width, height} in it;
// ``pale`` below 1 leaves what is drawn over it to be seen
export const paint = (canvas, values, width, height, { signed = false, pale = 1, box = null } = {}) => {
  const small = new OffscreenCanvas(width, height);
  const context = small.getContext("2d");
  const image = context.createImageData(width, height);
  const colour = signed ? both : grey;
  for (let i = 0; i < width * height; i++) {
    image.data.set([...colour(values[i], pale), 255], 4 * i);
  }
  context.putImageData(image, 0, 0);
  const place = box ?? { x: 0, y: 0, width: canvas.width, height: canvas.height };
  const target = canvas.getContext("2d");
  target.imageSmoothingEnabled = false;
  target.drawImage(small, place.x, place.y, place.width, place.height);
};

// a line of numbers, or several, in the same picture; ``at`` marks a place
export const lines = (canvas, rows, at = null) => {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  const all = rows.flat().filter(Number.isFinite);
  const low = Math.min(0, ...all), high = Math.max(...all, low + 1e-9);
  const y = (value) => height - 14 - (height - 24) * (value - low) / (high - low);
  rows.forEach((row, number) => {
    context.strokeStyle = COLOURS[number];
    context.lineWidth = 2;
    context.setLineDash(number % 2 ? [6, 3] : []);
    context.beginPath();
    row.forEach((value, i) => context.lineTo(6 + (width - 12) * i / Math.max(1, row.length - 1), y(value)));
    context.stroke();
  });
  context.setLineDash([]);
  if (at !== null) {
    const x = 6 + (width - 12) * at / Math.max(1, rows[0].length - 1);
    context.strokeStyle = "#1f2328";
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(x, 0);
    context.lineTo(x, height);
    context.stroke();
  }
  context.fillStyle = "#4d5661";
  context.font = "11px system-ui, sans-serif";
  context.fillText(high.toPrecision(2), 4, 11);
  context.fillText(low.toPrecision(2), 4, height - 2);
};

// a point, in two shapes, for those who do not see the colours apart
export const mark = (context, x, y, kind, size = 4) => {
  context.fillStyle = COLOURS[kind % COLOURS.length];
  context.strokeStyle = "#fff";
  context.lineWidth = 1;
  context.beginPath();
  if (kind % 2) context.rect(x - size, y - size, 2 * size, 2 * size);
  else context.arc(x, y, size, 0, 2 * Math.PI);
  context.fill();
  context.stroke();
};

export const begin = async (root) => {
  const name = root.dataset.interactive;
  const words = JSON.parse(root.dataset.words);
  const language = document.documentElement.lang;
  const stage = root.querySelector(".stage");
  const one = (selector) => root.querySelector(selector);
  const said = one(".said");
  const tools = {
    words,
    one,
    field: (field) => one(`[name="${field}"]`),
    canvas: (canvas) => one(`[data-canvas="${canvas}"]`),
    part: (part) => one(`[data-part="${part}"]`),
    say: (text) => { said.textContent = text; },
    on: (does, act) => one(`[data-do="${does}"]`).addEventListener("click", act),
    show: (place, text) => { one(`[data-part="${place}"]`).textContent = text; },
  };

  // newest wins: an older answer is thrown away
  let asked = 0;
  tools.ask = async (what) => {
    const mine = ++asked;
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
    } catch (error) {
      if (mine === asked) tools.say(`${words.failed}: ${error.message}`);
      return null;
    } finally {
      if (mine === asked) root.removeAttribute("aria-busy");
    }
  };

  // a recording of ``count`` frames, drawn by ``draw(place)``
  tools.player = (draw) => {
    const bar = tools.field("frame"), play = one('[data-do="play"]');
    let clock = null;
    const go = (place) => {
      bar.value = Math.min(Math.max(place, 0), Number(bar.max));
      draw(Number(bar.value));
    };
    const stop = () => {
      clearInterval(clock);
      clock = null;
      play.textContent = words.play;
    };
    const start = () => {
      stop();
      if (Number(bar.value) === Number(bar.max)) go(0);
      play.textContent = words.pause;
      clock = setInterval(() => {
        if (!root.isConnected || Number(bar.value) >= Number(bar.max)) stop();
        else go(Number(bar.value) + 1);
      }, tools.pace ?? 180);
    };
    play.addEventListener("click", () => (clock === null ? start() : stop()));
    one('[data-do="earlier"]').addEventListener("click", () => { stop(); go(Number(bar.value) - 1); });
    one('[data-do="later"]').addEventListener("click", () => { stop(); go(Number(bar.value) + 1); });
    bar.addEventListener("input", () => { stop(); draw(Number(bar.value)); });
    return {
      load: (count, play = true) => {
        stop();
        bar.max = count - 1;
        go(0);
        if (play) start();
      },
      go,
      stop,
    };
  };

  for (const range of root.querySelectorAll("label.slide input")) {
    const shown = range.parentElement.querySelector("output");
    const show = () => { shown.textContent = range.value; };
    range.addEventListener("input", show);
    show();
  }

  let guess = null;
  let started = false;
  const open = async () => {
    stage.hidden = false;
    if (started) return;
    started = true;
    const { start } = await import(`/static/interactives/${name}.js`);
    await start(root, tools);
    root.dataset.ready = "";
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
};
