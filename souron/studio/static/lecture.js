// The lecture's pages: layers that are pressed, a training that is watched, exercises, courses.
import { $, $$, ask, complain, encoded, fill, make, photograph, reduced } from "./plain.js";
import { present, presenting } from "./presenter.js";

// a layer that is pressed opens its facts, its activations for the row's example, and its code
const activations = new Map(); // name of a layer -> {image, shape}
const activate = (part) => {
  const group = $("[data-layer][aria-pressed=true]", part);
  $(".activation", part)?.remove();
  const seen = group && activations.get(group.dataset.name);
  if (!seen) return;
  const about = $("template.panels", part).dataset.activation;
  $(".layer dl", part).after(make("figure", { className: "activation" },
    make("img", { src: seen.image, alt: "" }), make("figcaption", { textContent: `${about}: ${seen.shape}` })));
};
const showLines = (part, buttons) => {
  const code = $(".source", part);
  code.hidden = !buttons.length;
  part.querySelector(".layered").classList.toggle("open", buttons.length > 0);
  for (const each of $$("[data-do=lines]", part)) each.setAttribute("aria-pressed", String(buttons.includes(each)));
  if (!buttons.length) return code.replaceChildren();
  const { file } = buttons[0].dataset;
  if (code.firstElementChild?.dataset.file !== file) {
    code.replaceChildren($(`[data-file="${CSS.escape(file)}"]`, $("template.sources", part).content).cloneNode(true));
  }
  const lines = $$("code > span", code);
  for (const line of lines) line.classList.remove("here");
  for (const { dataset } of buttons.filter((each) => each.dataset.file === file)) {
    for (const line of lines.slice(dataset.first - 1, dataset.last)) line.classList.add("here");
  }
  const pre = $("pre", code);
  pre.scrollTop = Math.max(0, lines[buttons[0].dataset.first - 1].offsetTop - pre.clientHeight / 3);
  pre.scrollLeft = 0;
};
const press = (group) => {
  const part = group.closest(".part");
  const pressed = group.getAttribute("aria-pressed") === "true";
  for (const other of $$("[data-layer][role=button]", part)) other.setAttribute("aria-pressed", "false");
  const shown = $(".layer", part);
  if (pressed) {
    shown.replaceChildren();
    return showLines(part, []);
  }
  group.setAttribute("aria-pressed", "true");
  const panel = $(`[data-layer="${group.dataset.layer}"]`, $("template.panels", part).content);
  shown.replaceChildren(...panel.cloneNode(true).childNodes);
  activate(part);
  showLines(part, $$("[data-do=lines]", shown).slice(0, Number(panel.dataset.made)));
  const plotted = group.closest(".plotted");
  const [box, frame] = [group.getBoundingClientRect(), plotted.getBoundingClientRect()];
  plotted.scrollLeft += box.left + box.width / 2 - frame.left - frame.width / 2;
};

const fetchLayers = () => {
  for (const place of $$("[data-picture]")) {
    ask(place.dataset.picture)
      .then((said) => fill(place, said.html), (error) => fill(place, error.message));
  }
};

// the row at work: each change asks again, and the layers light up
const light = (layers) => {
  for (const group of $$("[data-layer][data-name]")) group.style.removeProperty("--lit");
  layers.forEach(({ name, strength }, place) => {
    for (const group of $$(`[data-layer][data-name="${CSS.escape(name)}"]`)) {
      setTimeout(() => group.style.setProperty("--lit", Math.min(1, 0.25 + 2 * strength)), 40 * place);
    }
  });
  activations.clear();
  for (const { name, shape, image } of layers) activations.set(name, { shape, image });
  for (const part of $$("[data-part=picture]")) if ($(".layered", part)) activate(part);
  const shown = $(".work .lit");
  shown.hidden = !layers.length;
  shown.replaceChildren(...layers.map(({ name, title, shape, image }) => make("figure", {},
    make("img", { src: image, alt: "" }), make("figcaption", { textContent: title ?? name, title: name }),
    make("small", { textContent: shape }))));
};
let work = null, own = {};
let asking = 0;
const gathered_ = () => ({
  ...own,
  ...Object.fromEntries($$("[name]", work).map((each) => [each.name, each.type === "range" ? Number(each.value) : each.value])),
});
const answerNow = async (first = false) => {
  const mine = ++asking;
  work.classList.add("busy");
  try {
    const said = await ask(work.dataset.work, first ? { first: true } : gathered_());
    if (mine !== asking) return;
    fill($(".answered", work), said.html);
    light(said.layers ?? []);
    if (first) begin(said);
  } catch (error) {
    if (mine === asking) fill($(".answered", work), error.message);
  }
  if (mine === asking) work.classList.remove("busy");
};
const say = (input) => {
  const shown = $("output", input.closest("label") ?? input);
  if (shown) shown.textContent = input.value;
};
const begin = (said) => {
  fill($(".turned", work), said.controls ?? "");
  for (const input of $$("input[type=range]", work)) say(input);
  if ($(".samples", work)) fill($(".samples", work), (said.samples ?? []).join(""));
  if ($("textarea", work) && said.text) $("textarea", work).value = said.text;
};
const choose = (changes) => {
  for (const name of ["sample", "image"]) delete own[name];
  Object.assign(own, changes);
  if ($("textarea", work) && "sample" in changes) $("textarea", work).value = "";
  for (const button of $$("[data-sample]", work)) {
    button.setAttribute("aria-pressed", String(changes.sample === Number(button.dataset.sample)));
  }
  answerNow();
};
const LARGEST = 1024;
const sent = (source, width, height) => choose({ image: encoded(reduced(source, width, height, LARGEST, 8)) });
const TABLE = /\.(csv|tsv|xlsx?|xlsm|ods)$/i;
const bringTable = async (file) => { // as on the page Any file: the answer leads to the page for it
  const mine = ++asking, language = work.dataset.work.split("/")[2];
  try {
    const said = await ask(`/send/${language}/anything/file?${new URLSearchParams({ name: file.name })}`, file);
    if (mine === asking) fill($(".answered", work), said.html);
  } catch (error) {
    if (mine === asking) fill($(".answered", work), error.message);
  }
  if (mine === asking) work.classList.remove("busy");
};
const bring = async (file) => {
  if (!file) return;
  if (TABLE.test(file.name)) return bringTable(file);
  if (!$("[data-own=image]", work)) return;
  try {
    const bitmap = await createImageBitmap(file);
    sent(bitmap, bitmap.width, bitmap.height);
  } catch {
    choose({ image: "-" }); // the server says what it expects
  }
};
const film = async (button) => {
  try {
    const canvas = await photograph($("video", work));
    button.dataset.plain ??= button.textContent;
    button.textContent = canvas ? button.dataset.plain : button.dataset.shoot;
    if (canvas) sent(canvas, canvas.width, canvas.height);
  } catch (error) {
    complain(error.message);
  }
};
addEventListener("paste", (event) => {
  if (!work || !$("[data-own=image]", work)) return;
  bring([...event.clipboardData?.files ?? []].find((file) => file.type.startsWith("image/")));
});
const startWork = () => {
  asking += 1; // an answer to the page before comes too late
  work = $("form.work");
  own = {};
  if (!work) return;
  let waiting = 0;
  work.addEventListener("submit", (event) => event.preventDefault());
  work.addEventListener("input", (event) => {
    if (event.target.dataset.own) return bring(event.target.files[0]);
    say(event.target);
    clearTimeout(waiting);
    waiting = setTimeout(() => answerNow(), 400);
  });
  work.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-sample]");
    if (button) choose({ sample: Number(button.dataset.sample) });
  });
  for (const kind of ["dragover", "drop"]) {
    work.addEventListener(kind, (event) => {
      if (!event.dataTransfer.types.includes("Files")) return;
      event.preventDefault();
      if (kind === "drop") bring(event.dataTransfer.files[0]);
    });
  }
  answerNow(true);
};

// a training of ten seconds; one that runs already is watched on
const watch = async (button, running = "") => {
  const live = $(".live", button.closest(".part"));
  button.disabled = true;
  try {
    const job = running || (await ask(button.dataset.to, {})).job;
    for (let over = false, before = ""; !over && live.isConnected;) {
      const said = await ask(`${live.dataset.watched}/${job}`);
      const now = said.progress + said.seen + said.outcome;
      if (now !== before) fill(live, now);
      [over, before] = [said.over, now];
      if (!over) await new Promise((go) => setTimeout(go, 500));
    }
  } catch (error) {
    fill(live, error.message);
  }
  button.disabled = false;
};

// a search keeps what has all of its words
const search = $("input[data-search]");
const narrow = async () => {
  const words = search.value, place = $("#found"), said = $("[role=status]", search.closest(".search"));
  let found;
  try {
    found = words.trim() && new Set((await ask(search.dataset.search, { words })).found);
  } catch (error) {
    return complain(error.message);
  }
  if (words !== search.value) return; // more was typed meanwhile
  for (const item of $$("[data-key]", place)) item.hidden = Boolean(found) && !found.has(item.dataset.key);
  for (const group of $$(".chapter, .every", place)) {
    group.hidden = !$("[data-key]:not([hidden])", group);
    if (group.matches(".every")) group.open = Boolean(found) && !group.hidden;
  }
  said.textContent = $("[data-key]:not([hidden])", place) ? "" : said.dataset.none;
};
if (search) {
  search.addEventListener("input", narrow);
  if (search.value) narrow();
}

// exercises: an answer is marked by the studio; a hint comes before the explanation
const startExercise = (form) => {
  const told = $("[role=status]", form);
  const mark = async (asked) => {
    const number = Number(form.dataset.exercise);
    const said = await ask(form.dataset.mark, { exercise: number, ...asked }).catch((error) => ({ html: error.message }));
    fill(told, said.html);
    told.className = said.right ? "right" : "";
    if ("right" in said) $("p.answers").hidden = false;
  };
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const field = $("input[type=number], input:checked", form);
    if (field && field.value !== "") mark({ answer: Number(field.value) });
  });
  $("[data-do=show]", form).addEventListener("click", () => mark({ show: true }));
};

addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const group = event.target.closest?.("[data-layer][role=button]");
  if (group && ["Enter", " "].includes(event.key)) {
    event.preventDefault();
    return press(group);
  }
  if (presenting()) return;
  if (event.key === "Escape") {
    const layered = event.target.closest?.(".layered"), open = layered && $("[data-layer][aria-pressed=true]", layered);
    if (open) { press(open); open.focus(); }
    return;
  }
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!group || !by) return;
  const all = $$("[data-layer][role=button]", group.closest("svg") ?? undefined);
  all[all.indexOf(group) + by]?.focus();
  event.preventDefault();
});

// a course in the making
const making = $(".making");
const words = making ? JSON.parse(making.dataset.words) : {};
const chosen = making && $("ol.chosen", making);
const titled = (item) => $("[name=heading]", item).value || item.dataset.title;
const tell = (text, item) => {
  const number = [...chosen.children].indexOf(item) + 1;
  $("[role=status]", making).textContent = text.replace("{title}", titled(item)).replace("{number}", number);
};
const field = (name, tag, value) => make("label", {}, words[name],
  make(tag, { name, value: value ?? "", maxLength: tag === "input" ? 200 : 5000 }));
const minutesOf = (value) => make("label", {}, words.minutes,
  make("input", { name: "minutes", type: "number", min: 0, max: 600, step: "any", value: value || "" }));
const add = (part, title) => {
  const item = make("li", {},
    make("strong", { textContent: part.row ? `${part.row} ${title}` : part.interactive ? title : words.text }),
    make("span", { className: "moves" }, ...["up", "down", "remove"].map((does) => {
      const button = make("button", { type: "button", textContent: words[does] });
      button.dataset.do = does;
      button.setAttribute("aria-label", `${title}: ${words[does]}`);
      return button;
    })),
    minutesOf(part.minutes),
    make("details", { open: !(part.row || part.interactive) || Boolean(part.heading || part.before || part.after) },
      make("summary", { textContent: words.texts }),
      field("heading", "input", part.heading),
      field("before", "textarea", part.before),
      ...(part.row || part.interactive || part.after ? [field("after", "textarea", part.after)] : []),
      ...["say", "ask", "see"].map((name) => field(name, "textarea", part[name]))));
  Object.assign(item.dataset, {
    row: part.row ?? "", interactive: part.interactive ?? "", show: JSON.stringify(part.show ?? []), title,
  });
  chosen.append(item);
  return item;
};
const titleOf = ({ row = "", interactive = "" }) => {
  const button = interactive ? `[data-interactive="${interactive}"]` : `[data-row="${row}"]`;
  return $(`[data-do=add]${button}`)?.dataset.title ?? (interactive || row);
};
if (making) {
  const course = JSON.parse(making.dataset.course);
  $("[name=title]", making).value = course?.title ?? "";
  for (const part of course?.parts ?? []) add(part, part.row || part.interactive ? titleOf(part) : words.text);
}
const move = (item, by) => {
  const other = by < 0 ? item.previousElementSibling : item.nextElementSibling;
  if (!other) return;
  if (by < 0) other.before(item); else other.after(item);
  $(`[data-do=${by < 0 ? "up" : "down"}]`, item).focus();
  tell(words.moved, item);
};
const save = (sent, to) => ask(to, sent)
  .then((said) => location.assign(said.address), (error) => complain(error.message));
const gathered = () => ({
  name: making.dataset.name,
  title: $("[name=title]", making).value,
  parts: [...chosen.children].map((item) => ({
    row: item.dataset.row,
    interactive: item.dataset.interactive,
    show: JSON.parse(item.dataset.show),
    ...Object.fromEntries($$("[name]", item).map((each) => [each.name, each.type === "number" ? Number(each.value) : each.value])),
  })),
});

document.addEventListener("click", (event) => {
  const group = event.target.closest("[data-layer][role=button]");
  if (group) return press(group);
  const button = event.target.closest("button[data-do]");
  if (!(button instanceof HTMLElement) || button.closest("[data-module]")) return;
  /** @type {any} of a course that is being made */
  const item = button.closest("ol.chosen > li");
  const does = {
    lines: () => showLines(button.closest(".part"), [button]),
    train: () => watch(button), camera: () => film(button),
    add: () => tell(words.added, add({ ...button.dataset }, button.dataset.title)),
    up: () => move(item, -1), down: () => move(item, 1),
    remove: () => {
      const next = item.nextElementSibling ?? item.previousElementSibling;
      tell(words.removed, item);
      item.remove();
      (next ? $("[data-do=remove]", next) : $("[name=title]", making)).focus();
    },
    save: () => save(gathered(), making.dataset.to),
  }[button.dataset.do ?? ""];
  does?.();
});
document.addEventListener("change", async ({ target }) => {
  if (!(target instanceof HTMLInputElement) || !target.matches("[type=file][data-do=open]") || !target.files?.[0]) return;
  const text = await target.files[0].slice(0, 600000).text();
  save({ toml: text }, target.dataset.to);
  target.value = "";
});

// a page, also one that follows another in presentation mode
present(() => {
  fetchLayers();
  startWork();
  for (const form of $$("form.exercise")) startExercise(form);
  for (const button of $$("[data-do=train][data-running]")) watch(button, button.dataset.running);
});
