// The queue: rows that change in place, so that nothing flickers and the focus stays.
import { ask, complain, make } from "./plain.js";

const EVERY = 1500; // milliseconds

export const begin = (root) => {
  const words = JSON.parse(root.dataset.words);
  const find = (selector, where = root) => where.querySelector(selector);
  const status = find("[role=status]");
  const pause = find("[data-do=pause]");
  const states = new Map(); // id -> state, of what was shown
  let [shown, clock, acting] = ["", 0, 0];

  const put = (element, name, value) => { if (element[name] !== value) element[name] = value; };

  const rowOf = (id) => {
    const link = make("a", { hidden: true });
    const buttons = ["up", "down", "stop"].map((name) => {
      const made = make("button", { type: "button" });
      made.dataset.do = name;
      return made;
    });
    const bar = make("i");
    const progress = make("div", { hidden: true }, bar);
    progress.setAttribute("role", "progressbar");
    progress.setAttribute("aria-valuemin", "0");
    progress.setAttribute("aria-valuemax", "100");
    const item = make("li", {},
      make("p", { className: "what" }, make("strong"), " ", make("span"), " ", make("span", { className: "faint" })),
      progress,
      make("p", { className: "actions" }, ...buttons, link));
    item.dataset.job = id;
    return item;
  };

  const fillRow = (item, row) => {
    item.className = row.state;
    const [name, doing, more] = find(".what", item).children;
    put(name, "textContent", row.name);
    put(doing, "textContent", row.doing);
    put(more, "textContent", row.more);
    const bar = find("[role=progressbar]", item);
    bar.hidden = row.percent === undefined || row.percent === null;
    if (!bar.hidden) {
      bar.setAttribute("aria-label", `${row.name}: ${row.doing}`);
      bar.setAttribute("aria-valuenow", row.percent);
      bar.firstChild.style.width = `${row.percent}%`;
    }
    for (const way of ["up", "down"]) {
      const press = find(`[data-do=${way}]`, item);
      press.hidden = !row.moves;
      press.setAttribute("aria-disabled", String(!row[way])); // a disabled button would lose the focus
      put(press, "textContent", way === "up" ? "↑" : "↓");
      press.setAttribute("aria-label", `${words[way]}: ${row.name}`);
      press.title = words[way];
    }
    const stop = find("[data-do=stop]", item);
    stop.hidden = !row.stop;
    put(stop, "textContent", row.stop ?? "");
    stop.setAttribute("aria-label", `${row.stop ?? ""}: ${row.name}`);
    const link = find("a", item);
    link.hidden = !row.link;
    if (row.link) {
      link.href = row.link;
      put(link, "textContent", words.open);
      link.setAttribute("aria-label", `${words.open}: ${row.name}`);
    }
    if (row.percent !== undefined && row.link) link.hidden = true; // there is no result yet
  };

  // each row keeps its element; only those whose place is new are moved, and the focus returns
  const fillList = (place, rows) => {
    const list = find("ol", place);
    const before = new Map([...list.children].map((item) => [item.dataset.job, item]));
    const focused = /** @type {HTMLElement | null} */ (document.activeElement);
    rows.forEach((row, index) => {
      const item = before.get(row.id) ?? rowOf(row.id);
      before.delete(row.id);
      fillRow(item, row);
      if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
    });
    const lost = [...before.values()].some((item) => item.contains(focused));
    for (const item of before.values()) item.remove();
    place.hidden = !rows.length;
    if (lost) (find("li button:not([hidden])") ?? (pause.hidden ? root : pause)).focus();
    else if (list.contains(focused) && document.activeElement !== focused) focused?.focus();
  };

  const announce = (now) => {
    const rows = [...now.short, ...now.long, ...now.over];
    const changed = rows.filter((row) => states.size && states.has(row.id) && states.get(row.id) !== row.state);
    for (const row of rows) states.set(row.id, row.state);
    if (now.told || changed.length) dispatchEvent(new StorageEvent("storage", { key: "jobs" })); // seen here: no notice
    if (now.told) put(status, "textContent", now.told);
    else if (changed.length) put(status, "textContent", changed.map((row) => `${row.name}: ${row.doing}`).join(" · "));
  };

  const draw = (now) => {
    const text = JSON.stringify(now);
    if (text === shown) return;
    shown = text;
    for (const lane of ["short", "long", "over"]) fillList(find(`[data-lane=${lane}]`), now[lane]);
    find("[data-empty]").hidden = Boolean(now.short.length + now.long.length);
    find("[data-paused]").hidden = !now.paused;
    put(pause, "textContent", now.paused ? words.on : words.pause);
    pause.dataset.to = String(!now.paused);
    announce(now);
  };

  const request = (name, body) => ask(`/do/${root.dataset.page}/${name}`, body);
  const act = async (name, body) => {
    acting += 1;
    try {
      draw(await request(name, body));
    } catch (error) {
      complain(error.message);
    } finally {
      acting -= 1;
    }
  };
  const poll = async () => {
    clearTimeout(clock);
    const before = acting;
    const now = document.hidden || acting ? null : await request("rows", {}).catch(() => null);
    if (now && acting === before) draw(now); // else it may say what a button has changed meanwhile
    clearTimeout(clock);
    clock = setTimeout(poll, EVERY);
  };
  document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });

  root.tabIndex = -1;
  root.addEventListener("click", (event) => {
    const press = event.target.closest("button");
    if (!press || press.getAttribute("aria-disabled") === "true") return;
    const id = press.closest("[data-job]")?.dataset.job;
    const kind = press.dataset.do;
    const sent = kind === "pause" ? ["pause", { paused: press.dataset.to === "true" }]
      : kind === "stop" ? ["stop", { id }] : ["move", { id, by: kind === "up" ? -1 : 1 }];
    act(...sent);
  });
  draw(JSON.parse(root.dataset.now));
  clock = setTimeout(poll, EVERY);
};
