// The answers for files: one below the other, or as tiles where several files came at once.
import { ask, fill, make, words as filled } from "./plain.js";
import { player } from "./film.js";

const OFTEN = 500; // milliseconds between two questions about a film
const SETTLED = 300; // milliseconds after which an option counts as changed

// `list` is the element that gets them; `changed` is called after each answer
export const answers = (list, page, words, changed) => {
  const rows = []; // {item, cells} of the table
  let last = Promise.resolve();

  const item = (source, tile) => {
    const parts = [
      make("h2", { textContent: source.name }), make("div", { className: "heard" }), make("div", { className: "place" }),
      make("details", { className: "options", hidden: true },
        make("summary", { textContent: words.fold }), make("div", { className: "fields" })),
      make("p", { className: "others" }),
    ];
    if (!tile) return make("li", {}, ...parts);
    const sign = make("span", { className: "sign", textContent: source.name.split(".").at(-1).slice(0, 6) });
    const summary = make("summary", {}, sign, make("strong", { textContent: source.name }), make("span", { className: "short" }));
    return make("li", { className: "tile" }, make("details", { className: "whole" }, summary, ...parts));
  };

  const progress = (one, told, stop) => {
    const place = one.querySelector(".place");
    if (!place.querySelector(".job")) {
      const button = make("button", { type: "button", textContent: words.stop });
      button.addEventListener("click", () => { button.disabled = true; stop(); });
      const bar = make("div", { role: "progressbar", ariaLabel: words.busy, ariaValueMin: "0", ariaValueMax: "100" }, make("i"));
      place.replaceChildren(make("div", { className: "job" }, bar, make("p", { className: "faint" }), button));
    }
    const percent = Math.round(100 * told.fraction);
    const bar = place.querySelector("[role=progressbar]");
    bar.ariaValueNow = String(percent);
    bar.firstChild.style.width = `${percent}%`;
    place.querySelector(".job p").textContent = told.line;
  };

  const show = (one, source, told) => {
    const find = (selector) => one.querySelector(selector);
    const place = find(".place");
    fill(place, told.html);
    const named = told.name ? [filled(words.answered, { system: told.name })] : []; // of a table none does
    find("h2").textContent = [source.name, told.what, ...named].join(" · ");
    if (find(".short")) {
      find(".short").textContent = told.short;
      if (told.picture) find("summary > :first-child").replaceWith(make("img", { src: told.picture, alt: "" }));
    }
    if (told.shown) player(place, told.shown, words);
    if (one.dataset.system !== told.system) { // else it is being changed
      one.dataset.system = told.system;
      fill(find(".fields"), told.fields);
      find(".options").hidden = !find(".fields").children.length;
    }
    const others = find(".others");
    others.replaceChildren(...(told.others.length ? [`${words.others} `] : []));
    for (const [system, name] of told.others) {
      const button = make("button", { type: "button", textContent: name });
      button.addEventListener("click", () => answer(one, source, system));
      others.append(button, " ");
    }
    if (told.options) others.append(make("a", { href: told.options, textContent: filled(words.options, { system: told.name }) }));
    const kept = rows.filter((row) => row.item !== one);
    rows.splice(0, rows.length, ...kept, ...told.rows.map((cells) => ({ item: one, cells })));
  };

  const request = (source, system, options) => {
    const query = new URLSearchParams({ name: source.name, system, options: JSON.stringify(options) });
    return source.sample
      ? ask(`/do/${page}/sample`, { sample: source.sample, system, options })
      : ask(`/send/${page}/file?${query}`, source.content);
  };

  const answer = async (one, source, system = "", options = {}) => {
    const mine = one.turn = (one.turn ?? 0) + 1;
    let stopped = false;
    one.classList.add("busy");
    if (!one.querySelector(".place").childNodes.length) one.querySelector(".place").append(words.busy);
    const asked = last.then(() => request(source, system, options)); // one after the other
    last = asked.catch(() => {});
    try {
      let told = await asked;
      while (told.film) { // it takes longer
        stopped ||= mine !== one.turn;
        if (mine === one.turn) progress(one, told, () => { stopped = true; });
        await new Promise((go) => setTimeout(go, OFTEN));
        told = await ask(`/do/${page}/film`, { film: told.film, stop: stopped });
      }
      if (mine === one.turn) show(one, source, told);
    } catch (error) {
      if (mine !== one.turn) return;
      fill(one.querySelector(".place"), error.message);
      if (one.querySelector(".short")) one.querySelector(".short").textContent = words.wrong;
    }
    if (mine !== one.turn) return;
    one.classList.remove("busy");
    changed(rows);
  };

  // the options of an answer: a change answers again
  const changing = (one, source) => {
    const fields = one.querySelector(".fields");
    let waiting = 0;
    fields.addEventListener("input", ({ target }) => {
      const shown = target.parentElement.querySelector("output");
      if (shown) shown.textContent = target.value;
      clearTimeout(waiting);
      waiting = setTimeout(() => {
        const given = [...fields.querySelectorAll("[name]")].filter((each) => each.value !== "" || each.type === "text");
        const value = (each) => each.type === "checkbox" ? each.checked : each.type === "range" ? Number(each.value) : each.value;
        answer(one, source, one.dataset.system, Object.fromEntries(given.map((each) => [each.name, value(each)])));
      }, SETTLED);
    });
  };

  const added = (place, source, tile) => {
    const one = item(source, tile);
    if (source.content instanceof Blob && source.content.type.startsWith("audio/")) {
      const sound = make("audio", { controls: true, src: URL.createObjectURL(source.content) });
      one.querySelector(".heard").append(sound);
    }
    changing(one, source);
    if (tile) place.append(one); else place.prepend(one);
    return answer(one, source);
  };

  const give = (sources) => {
    if (sources.length < 2) return sources.forEach((source) => added(list, source, false));
    const tiles = make("ul", { className: "tiles" });
    list.prepend(make("li", {}, make("h2", { textContent: filled(words.files, { count: sources.length }) }), tiles));
    for (const source of sources) added(tiles, source, true);
  };
  return { give, rows };
};
