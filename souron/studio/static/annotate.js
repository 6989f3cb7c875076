// Boxes and outlines on the images of a folder. Annotorious draws; this file keeps what was drawn, with
// its class, in pixels of the original, and saves each change.
import "./annotorious.js"; // defines globalThis.Annotorious
import { ask, complain, fill, make, words as filled } from "./plain.js";

const LEVELS = [1, 1.5, 2, 3, 4, 6, 8]; // of the zoom
const RETRY = 5000; // ms
const STEPS = 200; // that can be undone

export const begin = (root) => {
  const words = JSON.parse(root.dataset.words);
  const { page, folder: data } = root.dataset;
  const find = (selector) => root.querySelector(selector);
  const stage = find(".stage");
  const act = (name, more = {}) => ask(`/do/${page}/${name}`, { data, ...more });
  const view = (name, file) => `/show/${page}/${name}?${new URLSearchParams({ data, file })}`;

  let shown = null; // what the server told of the image
  let marks = new Map(); // uid -> mark, in the order of the list; marks are never changed, only replaced
  let past = [], future = []; // earlier and later states of `marks`
  let stored = new Map(); // uid -> mark, as the server has them; the order is that of its list
  let looked = false, storedLooked = false;
  let anno = null, scale = [1, 1], drawn = new Map(); // uid -> geometry as JSON, as Annotorious was given it
  let tool = "rectangle", level = 0;
  /** @type {string[]} */
  let classes = [];
  let current = "", selected = "";
  let saving = null, failed = false, stopped = false; // stopped: somebody else changed the image
  const list = { page: 0, pages: 1, only: "" };
  let count = 0;
  let turn = 0; // of images that were asked for

  // ---- shapes: pixels of the original <-> Annotorious's geometry, in pixels of the image on the page

  const bounds = (points) => {
    const [x, y] = [points.map((p) => p[0]), points.map((p) => p[1])];
    return { minX: Math.min(...x), minY: Math.min(...y), maxX: Math.max(...x), maxY: Math.max(...y) };
  };
  const small = ([x, y]) => [x / scale[0], y / scale[1]];
  const large = ([x, y]) => [
    Math.min(Math.max(x * scale[0], 0), shown.width), Math.min(Math.max(y * scale[1], 0), shown.height),
  ].map((v) => Math.round(v * 100) / 100);

  const selector = (mark) => {
    if (mark.outlines) {
      const lines = mark.outlines.map((line) => line.map(small));
      if (lines.length === 1) return { type: "POLYGON", geometry: { points: lines[0], bounds: bounds(lines[0]) } };
      const polygons = lines.map((points) => ({ rings: [{ points }], bounds: bounds(points) }));
      return { type: "MULTIPOLYGON", geometry: { polygons, bounds: bounds(lines.flat()) } };
    }
    const [left, top, wide, high] = mark.box;
    const [[x, y], [right, bottom]] = [small([left, top]), small([left + wide, top + high])];
    const box = { minX: x, minY: y, maxX: right, maxY: bottom };
    return { type: "RECTANGLE", geometry: { x, y, w: right - x, h: bottom - y, rot: 0, bounds: box } };
  };

  const shape = ({ type, geometry }) => {
    if (type === "POLYGON") return { outlines: [geometry.points.map(large)], box: undefined };
    if (type === "MULTIPOLYGON") {
      return { outlines: geometry.polygons.map(({ rings }) => rings[0].points.map(large)), box: undefined };
    }
    const { minX, minY, maxX, maxY } = geometry.bounds;
    const [[left, top], [right, bottom]] = [large([minX, minY]), large([maxX, maxY])];
    return { box: [left, top, right - left, bottom - top].map((v) => Math.round(v * 100) / 100), outlines: undefined };
  };
  const empty = ({ box, outlines }) => (box ? box[2] < 1e-2 || box[3] < 1e-2 : outlines.some((l) => l.length < 3));
  const around = ({ box, outlines }) => {
    if (box) return box;
    const { minX, minY, maxX, maxY } = bounds(outlines.flat());
    return [minX, minY, maxX - minX, maxY - minY];
  };

  const colour = (name) => {
    const place = classes.indexOf(name);
    return place < 0 ? "#d9480f" : `hsl(${(210 + place * 137.5) % 360} 85% 45%)`;
  };
  const style = ({ id }, state) => {
    const ink = colour(marks.get(id)?.class ?? "");
    return { fill: ink, fillOpacity: state?.selected ? 0.15 : 0.08, stroke: ink, strokeWidth: 2, strokeOpacity: 1 };
  };

  // ---- states: each change makes a new `marks`; what was before can be had again

  const change = (next, saves = true) => {
    past.push({ marks, looked });
    if (past.length > STEPS) past.shift();
    future = [];
    marks = next;
    if (saves && [...marks.values()].some((mark) => !mark.suggested)) looked = true;
    anno?.setStyle(style); // colours follow the classes
    render();
    save();
  };
  const replace = (uid, fields) => change(new Map(marks).set(uid, { ...marks.get(uid), ...fields }));
  const step = (from, to) => {
    if (!from.length) return;
    anno?.cancelDrawing();
    to.push({ marks, looked });
    ({ marks, looked } = from.pop());
    if (!marks.has(selected)) selected = "";
    draw();
    render();
    save();
  };
  const remove = (uid) => {
    if (!marks.has(uid)) return;
    const next = new Map(marks);
    next.delete(uid);
    if (selected === uid) selected = "";
    anno?.setSelected();
    anno?.removeAnnotation(uid);
    change(next);
  };

  // what was drawn or moved with Annotorious
  const take = () => {
    if (!anno || !shown) return;
    const next = new Map(marks);
    let changed = false;
    for (const { id, target } of anno.getAnnotations()) {
      const geometry = JSON.stringify(target.selector.geometry);
      if (drawn.get(id) === geometry) continue;
      drawn.set(id, geometry);
      const fields = shape(target.selector);
      const mark = next.get(id);
      changed = true;
      if (mark) next.set(id, { ...mark, ...fields });
      else if (empty(fields)) anno.removeAnnotation(id);
      else {
        next.set(id, { class: current, fixed: false, ...fields });
        selected = id;
      }
    }
    if (changed) change(next);
    if (marks.get(selected) && !marks.get(selected).class && !classes.length) find(".new input").focus();
  };

  // ---- the image

  const draw = () => {
    if (!anno) return;
    drawn = new Map();
    const all = [...marks].filter(([, mark]) => mark.box || mark.outlines).map(([id, mark]) => {
      const target = { annotation: id, selector: selector(mark) };
      drawn.set(id, JSON.stringify(target.selector.geometry));
      return { id, bodies: [], target };
    });
    anno.setSelected();
    anno.setAnnotations(all, true);
    if (selected && !marks.get(selected)?.fixed) anno.setSelected(selected, true);
  };

  const tags = () => {
    const place = find(".tags");
    if (!place) return;
    const [wide, high] = [shown.width / 100, shown.height / 100];
    place.replaceChildren(...[...marks].filter(([, mark]) => mark.box || mark.outlines).map(([uid, mark]) => {
      const [left, top, width, height] = around(mark);
      const tag = make("span", { textContent: mark.class || words.classless });
      const frame = make("div", { className: mark.suggested ? "suggested" : "" }, tag);
      if (uid === selected) frame.classList.add("selected");
      const at = { left: left / wide, top: top / high, width: width / wide, height: height / high };
      for (const [name, value] of Object.entries(at)) frame.style[name] = `${value}%`;
      frame.style.setProperty("--ink", colour(mark.class));
      return frame;
    }));
  };

  const objects = () => {
    find(".objects").replaceChildren(...[...marks].map(([uid, mark]) => {
      const name = mark.class || words.classless;
      const kind = mark.suggested ? ` (${words.suggested} ${Math.round(100 * mark.score)} %)` : "";
      const choose = make("button", { type: "button", className: "name", textContent: name + kind });
      choose.style.setProperty("--ink", colour(mark.class));
      choose.setAttribute("aria-pressed", uid === selected);
      if (mark.fixed) choose.title = words.fixed;
      choose.addEventListener("click", () => select(uid));
      const item = make("li", {}, choose);
      if (mark.suggested) {
        const accept = make("button", { type: "button", textContent: words.accept });
        accept.addEventListener("click", () => replace(uid, { suggested: false }));
        item.append(accept);
      }
      const away = make("button", { type: "button", textContent: "×", title: words.remove });
      away.setAttribute("aria-label", `${words.remove}: ${name}`);
      away.addEventListener("click", () => remove(uid));
      item.append(away);
      return item;
    }));
  };

  const chips = () => {
    const of = marks.get(selected)?.class ?? current;
    find(".classes").replaceChildren(...classes.map((name, place) => {
      const key = place < 9 ? make("kbd", { textContent: place + 1 }) : "";
      const chip = make("button", { type: "button", className: "chip" }, key, make("span", { textContent: name }));
      chip.style.setProperty("--ink", colour(name));
      chip.setAttribute("role", "radio");
      chip.setAttribute("aria-checked", name === of);
      chip.addEventListener("click", () => choose(name));
      const rename = make("button", { type: "button", textContent: "✎", title: words.rename });
      rename.setAttribute("aria-label", `${words.rename}: ${name}`);
      rename.addEventListener("click", () => renamed(name));
      const away = make("button", { type: "button", textContent: "×", title: words.remove });
      away.setAttribute("aria-label", `${words.remove}: ${name}`);
      away.addEventListener("click", () => changeClasses({ do: "remove", name }));
      return make("div", {}, chip, rename, away);
    }));
  };

  const state = () => {
    const wanting = [...marks.values()].some((mark) => !mark.suggested && !mark.class);
    const text = wanting ? words.needs : failed || stopped ? words.unsaved : saving ? words.saving : words.saved;
    const place = find(".saved");
    if (place.textContent !== text) place.textContent = text;
    place.classList.toggle("bad", wanting || failed || stopped);
    root.dataset.state = wanting ? "classless" : failed || stopped ? "unsaved" : saving ? "saving" : "saved";
  };

  const render = () => {
    tags();
    objects();
    chips();
    const suggested = [...marks.values()].some((mark) => mark.suggested);
    for (const name of ["accept", "dismiss"]) find(`[data-do=${name}]`).hidden = !suggested;
    find("[data-do=undo]").disabled = !past.length;
    find("[data-do=redo]").disabled = !future.length;
    find("[data-do=delete]").disabled = !marks.has(selected);
    find("[data-do=previous]").disabled = !shown?.previous;
    find("[data-do=next]").disabled = !shown?.next;
    find("[data-do=todo]").disabled = !shown?.todo;
    const nothing = ![...marks.values()].some((mark) => !mark.suggested);
    find("[data-do=empty]").disabled = !nothing || !!shown?.broken;
    find("[data-do=empty]").setAttribute("aria-pressed", nothing && looked);
    find(".hint").textContent = words[tool];
    state();
  };

  const zoom = () => {
    const picture = find(".stage img");
    if (!picture) return;
    const [wide, high] = [picture.naturalWidth, picture.naturalHeight];
    const room = Math.min(stage.clientWidth / wide, (innerHeight * 0.72) / high);
    picture.style.width = `${Math.max(1, Math.floor(wide * room * LEVELS[level]))}px`;
    picture.classList.toggle("pixelated", room * LEVELS[level] > 3);
  };

  const arm = () => { // a box is dragged, the corners of an outline are pressed one by one
    anno?.setDrawingMode(tool === "polygon" ? "click" : "drag");
    anno?.setDrawingTool(tool);
  };
  const setTool = (name) => {
    tool = name;
    for (const button of root.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", button.dataset.tool === name);
    }
    root.classList.toggle("moving", name === "move");
    anno?.cancelDrawing();
    anno?.setDrawingEnabled(name !== "move");
    if (name !== "move") arm();
    select("");
  };

  const select = (uid) => {
    selected = uid;
    if (anno) {
      if (uid && !marks.get(uid)?.fixed && drawn.has(uid)) anno.setSelected(uid, true);
      else anno.setSelected();
    }
    selected = uid;
    render();
  };

  const present = async (told) => {
    shown = told;
    count = told.marks.length;
    stored = new Map(told.marks.map((mark, place) => [`${turn}-${place}`, mark]));
    [marks, past, future, selected] = [new Map(stored), [], [], ""];
    [looked, storedLooked, failed, stopped] = [!!told.looked, !!told.looked, false, false];
    classes = told.classes;
    if (!classes.includes(current)) current = classes[0] ?? "";
    find(".conflict").hidden = true;
    anno?.destroy();
    anno = null;
    const name = find(".file");
    name.textContent = told.file;
    name.title = told.file;
    find(".count").textContent = filled(words.of, { place: told.place + 1, total: told.total });
    find(".told").textContent = "";
    const notes = [];
    if (told.count > count) notes.push(filled(words.more, { count: told.count - count }));
    if (told.other_size) {
      const [here, there] = [`${told.width} × ${told.height}`, told.other_size.join(" × ")];
      notes.push(filled(words.size, { here, there }));
    }
    find(".notes").replaceChildren(...notes.map((text) => make("p", { className: "remark", textContent: text })));
    const address = new URL(location.href);
    address.searchParams.set("file", told.file);
    const kept = document.querySelector("[data-address]");
    if (kept instanceof HTMLElement) kept.dataset.address = address.pathname + address.search;
    history.replaceState(null, "", address);
    if (told.broken) {
      stage.replaceChildren(make("p", { className: "remark", textContent: told.broken }));
      render();
      return;
    }
    const mine = turn;
    const picture = make("img", { alt: told.file });
    await new Promise((done) => {
      picture.onload = picture.onerror = done;
      picture.src = view("image", told.file);
    });
    if (mine !== turn) return;
    if (!picture.naturalWidth) {
      const why = await ask(view("image", told.file)).then(() => words.failed, (e) => e.message);
      stage.replaceChildren(make("div"));
      fill(stage.firstChild, why);
      shown.broken = true;
      render();
      return;
    }
    stage.replaceChildren(picture);
    scale = [told.width / picture.naturalWidth, told.height / picture.naturalHeight];
    level = 0;
    zoom();
    anno = globalThis.Annotorious.createImageAnnotator(picture, {
      drawingEnabled: tool !== "move", autoSave: true, style, theme: "light",
      userSelectAction: ({ id }) => (marks.get(id)?.fixed ? "SELECT" : "EDIT"),
    });
    if (tool !== "move") arm();
    anno.element.append(make("div", { className: "tags" }));
    anno.element.dataset.ready = told.file;
    anno.on("createAnnotation", () => setTimeout(take));
    anno.on("selectionChanged", (some) => {
      if (some.length && some[0].id !== selected && marks.has(some[0].id)) selected = some[0].id;
      else if (!some.length && !marks.get(selected)?.fixed) selected = "";
      setTimeout(() => { take(); render(); });
    });
    draw();
    render();
  };

  // ---- saving

  const inList = ({ fixed: _fixed, more: _more, score: _score, suggested: _suggested, ...rest }) => JSON.stringify(rest);
  const body = ({ class: name, box, outlines, fixed, more }) => ({
    ...(name ? { class: name } : {}), ...(more ? { more } : {}),
    ...(fixed ? {} : outlines ? { outlines } : box ? { box } : {}),
  });
  const difference = () => {
    const wanted = new Map([...marks].filter(([, mark]) => !mark.suggested && (mark.class || mark.more)));
    const places = new Map([...stored.keys()].map((uid, place) => [uid, place]));
    const changed = [], deleted = [], added = [], after = new Map();
    for (const [uid, place] of places) {
      const [mark, old] = [wanted.get(uid), stored.get(uid)];
      if (!mark) deleted.push(place);
      else {
        after.set(uid, mark);
        if (inList(mark) === inList(old)) continue;
        const moved = JSON.stringify([mark.box, mark.outlines]) !== JSON.stringify([old.box, old.outlines]);
        /** @type {Record<string, any>} */
        const fields = { place };
        if (mark.class !== old.class && mark.class) fields.class = mark.class;
        if (moved) Object.assign(fields, mark.outlines ? { outlines: mark.outlines } : { box: mark.box });
        changed.push(fields);
      }
    }
    for (const [uid, mark] of wanted) {
      if (places.has(uid)) continue;
      added.push(body(mark));
      after.set(uid, mark);
    }
    const same = !changed.length && !deleted.length && !added.length && looked === storedLooked;
    return same ? null : { changed, deleted, added, after, looked };
  };

  const save = () => {
    if (saving || stopped || !shown || shown.broken) return saving ?? Promise.resolve();
    const wanted = difference();
    if (!wanted) {
      failed = false;
      state();
      return Promise.resolve();
    }
    const { after, ...sent } = wanted;
    const { file, version } = shown;
    saving = act("save", { file, version, ...sent }).then((told) => {
      if (told.changed) {
        stopped = true;
        conflict(told.changed);
        return;
      }
      failed = false;
      const hidden = shown.count - count; // stand in the list between those that were shown and new ones
      shown.version = told.version;
      shown.count = after.size + hidden;
      // with hidden ones in between, the places of new ones are unknown: the image is read again
      if (hidden && sent.added.length) setTimeout(() => open(file));
      [stored, storedLooked, count] = [after, sent.looked, after.size];
      states(file, sent.looked || after.size ? shown.count : -1);
    }, (error) => {
      if (!failed) complain(error.message);
      failed = true;
      setTimeout(() => { if (failed && !saving) save(); }, RETRY);
    }).finally(() => {
      saving = null;
      state();
      if (!failed && !stopped && difference()) save();
    });
    state();
    return saving;
  };
  const settled = async () => {
    for (let tries = 0; tries < 5; tries += 1) {
      await save();
      if (failed || stopped || !difference()) break;
    }
    return !failed && !stopped && ![...marks.values()].some((mark) => !mark.suggested && !mark.class && !mark.more);
  };

  const conflict = (text) => {
    const bar = find(".conflict");
    bar.replaceChildren(make("p", { textContent: text }), make("p", { textContent: words.waiting }));
    const own = difference();
    for (const name of ["stored", "both"]) {
      const button = make("button", { type: "button", textContent: words[name] });
      button.dataset.choose = name;
      button.addEventListener("click", async () => {
        const mine = name === "both" && own ? [...own.after].filter(([uid, mark]) => stored.get(uid) !== mark) : [];
        const suggested = [...marks].filter(([, mark]) => mark.suggested);
        await open(shown.file);
        const next = new Map(marks);
        const known = new Set([...marks.values()].map(inList));
        for (const [uid, mark] of mine) if (!known.has(inList(mark))) next.set(`own-${uid}`, mark);
        for (const [uid, mark] of suggested) next.set(`own-${uid}`, mark);
        if (next.size > marks.size) {
          change(next);
          draw();
          render();
        }
      });
      bar.append(button, " ");
    }
    bar.hidden = false;
    state();
  };

  // ---- the list, classes, suggestions

  const label = (made) => (made < 0 ? words.new : made ? filled(words.drawn, { count: made }) : words.empty);
  const counts = (told) => {
    const rest = told.total - told.drawn - told.empty;
    find(".counts").textContent = filled(words.counts, { ...told, rest });
  };
  const states = (file, made) => {
    const item = [...root.querySelectorAll(".list li")].find((one) => one.dataset.file === file);
    if (item) {
      item.dataset.made = Math.sign(made);
      item.querySelector("small").textContent = label(made);
    }
    const was = shown.made ?? shown.firstMade;
    if (list.told && was !== made) {
      const sort = (n) => (n < 0 ? "" : n ? "drawn" : "empty");
      if (sort(was)) list.told[sort(was)] -= 1;
      if (sort(made)) list.told[sort(made)] += 1;
      counts(list.told);
    }
    shown.made = made;
  };

  const showList = async (more) => {
    const told = await act("listed", { only: list.only, ...more });
    Object.assign(list, { page: told.page, pages: told.pages, told });
    find(".list").replaceChildren(...told.files.map(([file, made]) => {
      const picture = make("img", { loading: "lazy", alt: "", src: view("thumbnail", file) });
      picture.addEventListener("error", () => picture.classList.add("broken"));
      const button = make("button", { type: "button" }, picture, make("span", { textContent: file, title: file }),
        make("small", { textContent: label(made) }));
      button.addEventListener("click", () => go(file));
      const item = make("li", {}, button);
      [item.dataset.file, item.dataset.made] = [file, Math.sign(made)];
      if (file === shown?.file) item.setAttribute("aria-current", "true");
      return item;
    }));
    const step = (text, to) => {
      const button = make("button", { type: "button", textContent: text, disabled: to < 0 || to >= told.pages });
      button.addEventListener("click", () => showList({ page: to }).catch((error) => complain(error.message)));
      return button;
    };
    const where = filled(words.page, { page: told.page + 1, pages: told.pages });
    find(".pager").replaceChildren(...(told.pages < 2 ? [] : [
      step(words.earlier, told.page - 1), ` ${where} `, step(words.further, told.page + 1),
    ]));
    counts(told);
    for (const text of told.notes) find(".notes").append(make("p", { className: "remark", textContent: text }));
    find(".train").replaceChildren(...Object.entries(told.train).map(([task, href], place) => (
      make("a", { href, textContent: words[task], className: place ? "" : "first" })
    )));
    find(".commands").textContent = told.commands.join("\n");
    return told;
  };

  const mark = (file) => {
    let there = false;
    for (const item of root.querySelectorAll(".list li")) {
      const here = item.dataset.file === file;
      item.toggleAttribute("aria-current", here);
      if (here) item.setAttribute("aria-current", "true");
      there ||= here;
    }
    return there;
  };

  const open = async (file) => {
    turn += 1;
    const mine = turn;
    const told = await act("image", { file });
    if (mine !== turn) return;
    told.firstMade = told.looked ? told.count : -1;
    await present(told);
    if (!mark(told.file) && !list.only && list.told) await showList({ file: told.file });
  };
  const go = async (file) => {
    if (!file) return;
    try {
      take();
      if (!await settled()) {
        state();
        return;
      }
      await open(file);
    } catch (error) {
      complain(error.message);
    }
  };

  const choose = (name) => {
    take();
    current = name;
    if (marks.has(selected) && marks.get(selected).class !== name) {
      replace(selected, { class: name });
    } else render();
  };
  const changeClasses = async (asked) => {
    try {
      ({ classes } = await act("classes", asked));
      if (!classes.includes(current)) current = classes[0] ?? "";
      render();
      return true;
    } catch (error) {
      complain(error.message);
      return false;
    }
  };
  const renamed = async (name) => {
    const wanted = prompt(filled(words.asked, { name }), name)?.trim();
    if (!wanted || wanted === name || !await settled() || !await changeClasses({ do: "rename", name, new: wanted })) return;
    if (current === name) current = wanted;
    const other = (some) => new Map([...some].map(([id, one]) => [id, one.class === name ? { ...one, class: wanted } : one]));
    [marks, stored] = [other(marks), other(stored)];
    past = past.map((each) => ({ ...each, marks: other(each.marks) }));
    future = future.map((each) => ({ ...each, marks: other(each.marks) }));
    render();
  };
  find(".new").addEventListener("submit", async (event) => {
    event.preventDefault();
    const input = find(".new input");
    const name = input.value.trim().replace(/\s+/g, " ");
    if (!name || (!classes.includes(name) && !await changeClasses({ do: "add", name }))) return;
    input.value = "";
    const wanting = [...marks].find(([, one]) => !one.class && !one.suggested)?.[0];
    if (wanting && !marks.get(selected)) selected = wanting;
    if (marks.get(selected)?.class) {
      current = name;
      render();
    } else choose(name);
    stage.focus({ preventScroll: true });
  });

  const suggest = async () => {
    const button = find("[data-do=suggest]");
    if (!shown || shown.broken || button.disabled) return;
    const { file } = shown;
    button.disabled = true;
    find(".ask").dataset.busy = "";
    const text = button.textContent;
    button.textContent = words.busy;
    try {
      const told = await act("suggest", { file, system: find(".ask select").value });
      if (file !== shown.file) return;
      const next = new Map([...marks].filter(([, one]) => !one.suggested));
      const known = new Set([...next.values()].map(inList));
      told.marks.forEach((one, place) => {
        const made = { ...one, fixed: false, suggested: true };
        if (!known.has(inList(made))) next.set(`suggested-${Date.now()}-${place}`, made);
      });
      find(".told").textContent = told.marks.length ? "" : words.nothing;
      change(next, false);
      draw();
      render();
    } catch (error) {
      complain(error.message);
    } finally {
      [button.disabled, button.textContent] = [false, text];
      delete find(".ask").dataset.busy;
    }
  };
  const accept = async () => {
    const names = new Set([...marks.values()].filter((one) => one.suggested).map((one) => one.class));
    change(new Map([...marks].map(([uid, one]) => [uid, one.suggested ? { ...one, suggested: false } : one])));
    await save();
    if ([...names].some((name) => !classes.includes(name))) await refreshClasses();
  };
  const refreshClasses = async () => {
    await changeClasses({ do: "list" });
    anno?.setStyle(style);
  };

  // ---- buttons and keys

  const does = {
    previous: () => go(shown?.previous),
    next: () => go(shown?.next),
    todo: () => go(shown?.todo),
    undo: () => step(past, future),
    redo: () => step(future, past),
    delete: () => remove(selected),
    in: () => { level = Math.min(level + 1, LEVELS.length - 1); zoom(); },
    out: () => { level = Math.max(level - 1, 0); zoom(); },
    empty: () => {
      if (find("[data-do=empty]").disabled) return;
      past.push({ marks, looked });
      future = [];
      looked = !looked;
      render();
      save();
    },
    suggest, accept,
    dismiss: () => {
      change(new Map([...marks].filter(([, one]) => !one.suggested)), false);
      draw();
      render();
    },
  };
  const KEYS = {
    n: "next", ArrowRight: "next", p: "previous", ArrowLeft: "previous", u: "todo", e: "empty", g: "suggest",
    "+": "in", "=": "in", "-": "out", Delete: "delete", Backspace: "delete",
  };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.tool) setTool(button.dataset.tool);
    else if (button && Object.hasOwn(does, button.dataset.do ?? "")) does[button.dataset.do]();
  });
  addEventListener("keydown", (event) => {
    if (event.target.closest("input, textarea, select") || event.altKey) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    const control = event.ctrlKey || event.metaKey;
    const press = (run) => {
      event.preventDefault();
      event.stopImmediatePropagation(); // Annotorious has keys of its own
      run();
    };
    if (control && key === "z") press(event.shiftKey ? does.redo : does.undo);
    else if (control && key === "y") press(does.redo);
    else if (key === "s" && !event.shiftKey) press(() => { failed = false; save(); });
    else if (control) return;
    else if (/^[1-9]$/.test(key) && classes[Number(key) - 1]) press(() => choose(classes[Number(key) - 1]));
    else if ({ b: 1, o: 1, m: 1 }[key]) press(() => setTool({ b: "rectangle", o: "polygon", m: "move" }[key]));
    else if (key === "a" && !find("[data-do=accept]").hidden) press(accept);
    else if (key === "Escape") press(() => { anno?.cancelDrawing(); select(""); });
    else if ((key === "Delete" || key === "Backspace") && root.querySelector(".a9s-handle-selected")) return;
    else if (Object.hasOwn(KEYS, key)) press(does[KEYS[key]]);
  }, true);

  // what is moved counts as soon as the finger or the button is lifted
  addEventListener("pointerup", () => setTimeout(take));
  addEventListener("keyup", (event) => { if (event.target.closest?.(".a9s-annotationlayer")) setTimeout(take); });
  addEventListener("resize", zoom);
  stage.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    does[event.deltaY < 0 ? "in" : "out"]();
  }, { passive: false });
  // Annotorious takes a corner from where the pointer moved to last, and a finger only taps
  stage.addEventListener("pointerdown", (event) => {
    if (tool !== "polygon" || event.pointerType === "mouse") return;
    const { clientX, clientY, pointerType, pointerId } = event;
    event.target.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, pointerType, pointerId, bubbles: true }));
  }, true);
  let grip = null; // the mouse drags the image
  stage.addEventListener("pointerdown", (event) => {
    if (tool !== "move" || event.pointerType !== "mouse") return;
    event.preventDefault();
    grip = [event.clientX + stage.scrollLeft, event.clientY + stage.scrollTop];
    stage.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (grip) [stage.scrollLeft, stage.scrollTop] = [grip[0] - event.clientX, grip[1] - event.clientY];
  });
  for (const kind of ["pointerup", "pointercancel"]) stage.addEventListener(kind, () => { grip = null; });
  addEventListener("beforeunload", (event) => {
    const wanting = [...marks.values()].some((one) => !one.suggested && !one.class && !one.more);
    if (saving || wanting || (shown && !shown.broken && difference())) event.preventDefault();
  });
  find(".only input").addEventListener("change", (event) => {
    list.only = event.target.checked ? "new" : "";
    showList({ page: 0 }).catch((error) => complain(error.message));
  });

  const start = async () => {
    document.head.append(make("link", { rel: "stylesheet", href: "/static/annotorious.css" }));
    await open(root.dataset.file);
    await showList({ file: shown.file });
    const { systems } = await act("systems");
    find(".ask select").append(...systems.map(([value, name, learnt]) => {
      const textContent = learnt ? filled(words.learnt, { system: name, data: learnt }) : name;
      return make("option", { value, textContent });
    }));
    if (!systems.length) find(".ask select").append(make("option", { value: "", textContent: words.none }));
    find("[data-do=suggest]").disabled = !systems.length;
  };
  return start().catch((error) => complain(error.message));
};
