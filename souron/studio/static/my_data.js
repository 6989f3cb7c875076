// My data: brings files to the studio on this computer, and draws a data set's sections anew.
import { $, $$, ask, complain, dropped, fill, words } from "./plain.js";
import { Zip, ZipPassThrough } from "./fflate.js";

const MOST = 65000; // files of a zip
const OFTEN = 1000; // milliseconds between two looks while something is computed

// All files of a dropped folder, [path, file]
const within = async (entry, before = "") => {
  if (entry.isFile) return [[before + entry.name, await new Promise((done, failed) => entry.file(done, failed))]];
  const reader = entry.createReader(), found = [];
  for (let some; (some = await new Promise((done, failed) => reader.readEntries(done, failed))).length;) {
    for (const one of some) found.push(...await within(one, `${before}${entry.name}/`));
  }
  return found;
};

// Files as one zip that is not compressed: images are already
const packed = async (files) => {
  const parts = [];
  const zip = new Zip((error, chunk) => { if (error) throw error; parts.push(chunk); });
  for (const [path, file] of files) {
    const entry = new ZipPassThrough(path);
    zip.add(entry);
    entry.push(new Uint8Array(await file.arrayBuffer()), true);
  }
  zip.end();
  return new Blob(parts, { type: "application/zip" });
};

export const begin = (root) => {
  const texts = JSON.parse(root.dataset.words);
  const find = (selector, where = root) => where.querySelector(selector);
  const drawn = {};
  let waiting = 0;

  const draw = ({ sections, busy, address }) => {
    if (address) return location.assign(address);
    for (const [id, html] of Object.entries(sections ?? {})) {
      const place = document.getElementById(id);
      if (!place || drawn[id] === html) continue;
      const open = $$("details[data-key]", place).map((one) => [one.dataset.key, one.open]);
      const active = /** @type {any} */ (document.activeElement);
      const focused = place.contains(active) && active.dataset.asked;
      if (drawn[id] !== undefined || place.innerHTML !== html) fill(place, html);
      drawn[id] = html;
      for (const [key, state] of open) {
        const one = $(`details[data-key="${key}"]`, place);
        if (one) one.open = state;
      }
      if (focused) ($(`[data-asked='${CSS.escape(focused)}']`, place) ?? $("button", place))?.focus();
    }
    clearTimeout(waiting);
    if (busy) waiting = setTimeout(look, OFTEN);
  };
  const act = async (name, asked = {}) => {
    try {
      draw(await ask(`/do/${root.dataset.page}/${name}`, { data: root.dataset.data, ...asked }));
    } catch (error) {
      complain(error.message);
    }
  };
  const look = () => act("state");

  const tell = (text) => { find("[role=status]").textContent = text; };
  const bring = async (files) => {
    if (!files.length) return tell(texts.none);
    if (files.length > MOST) return tell(words(texts.many, { most: MOST }));
    try {
      const [[path, first]] = files;
      let body = first, name = first.name;
      if (files.length > 1 || path.includes("/")) {
        tell(words(texts.packing, { count: files.length }));
        body = await packed(files);
        name = `${path.includes("/") ? path.split("/")[0] : "upload"}.zip`;
      }
      tell(words(texts.sending, { size: Math.ceil(body.size / 1e6) }));
      draw(await ask(`/send/${root.dataset.page}/files?${new URLSearchParams({ name })}`, body));
    } catch (error) {
      tell("");
      complain(error.message);
    }
  };

  root.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-act]");
    if (!button) return;
    button.disabled = true;
    act(button.dataset.act, JSON.parse(button.dataset.asked ?? "{}")).finally(() => { button.disabled = false; });
  });
  for (const form of root.querySelectorAll("form[data-act]:not([data-asked])")) {
    const look = () => { form.querySelector("button").disabled = [...form.elements].some((one) => one.name && !one.value.trim()); };
    look();
    form.addEventListener("input", look);
  }
  root.addEventListener("submit", (event) => { // sections are drawn anew, with their forms
    const form = event.target.closest("form[data-act]");
    if (!form) return;
    event.preventDefault();
    act(form.dataset.act, { ...JSON.parse(form.dataset.asked ?? "{}"), ...Object.fromEntries(new FormData(form)) });
  });
  for (const input of root.querySelectorAll("input[type=file]")) {
    input.addEventListener("change", () => {
      bring([...input.files].map((file) => [file.webkitRelativePath || file.name, file]));
      input.value = "";
    });
  }
  const zone = find(".zone");
  if (zone) {
    dropped(zone, async (given) => {
      const entries = [...given.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
      bring((await Promise.all(entries.map((entry) => within(entry)))).flat());
    });
  } else {
    look();
  }
};
