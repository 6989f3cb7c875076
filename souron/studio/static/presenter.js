// Presentation mode: one part of a page at a time in large type, which the address names; questions whose answer
// stays hidden; a timer beside the plan. The speaker notes have a window of their own, which follows.
import { pen } from "./pen.js";
import { $, $$, words as filled } from "./plain.js";

const KEPT = "souron-timer", MINUTE = 60_000;
const SMALLEST = 0.75; // of the type, to make a part fit
const channel = new BroadcastChannel("souron-lecture");
const speaking = location.hash === "#speaker" && Boolean($(".beaming"));
export const presenting = () => document.body.classList.contains("beamer");
const bar = () => $(".beaming");
const word = (name) => JSON.parse(bar().dataset.words)[name];
const parts = () => $$("main.lesson .part");
let at = 0, loaded = location.pathname;
let begin = () => {}; // what the script of a page does where it is new

// the timer: milliseconds of the whole and of each page, kept until the tab is closed
let timer = null;
const startTimer = (anew) => {
  const { course, begin: minute } = bar().dataset;
  timer ??= JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  if (timer?.course !== course || (anew && Number(minute) === 0)) reset(course);
};
const reset = (course = timer.course) => {
  timer = { course, running: true, now: Date.now(), total: 0, pages: {} };
};
const shown = (time) => {
  const seconds = Math.floor(time / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
};
const reading = () => {
  const plan = Number(bar().dataset.minutes) * MINUTE, first = Number(bar().dataset.begin) * MINUTE;
  const here = timer.pages[loaded] ?? 0, texts = [shown(timer.total)];
  if (plan) {
    texts.push(filled(word("step"), { time: shown(here), plan: shown(plan) }));
    const late = timer.total - first - plan, ahead = first - timer.total;
    if (late > 0) texts.push(filled(word("late"), { time: shown(late) }));
    if (ahead > 0) texts.push(filled(word("ahead"), { time: shown(ahead) }));
  }
  return { text: texts.join(" · "), over: Boolean(plan) && here > plan, running: timer.running };
};
const showTime = ({ text, over, running }) => {
  $(".timer", bar()).textContent = text;
  $(".timer", bar()).classList.toggle("over", over);
  $("[data-do=pause]", bar()).textContent = word(running ? "pause" : "resume");
};
const count = () => {
  const now = Date.now(), passed = timer.running ? now - timer.now : 0;
  timer.total += passed;
  timer.pages[loaded] = (timer.pages[loaded] ?? 0) + passed;
  timer.now = now;
  sessionStorage.setItem(KEPT, JSON.stringify(timer));
  showTime(reading());
  tell();
};

// the notes' window
const tell = () => channel.postMessage({ path: location.pathname, at, time: reading() });
const titleOf = (part) => (part ? $("h1, h2", part)?.textContent ?? "" : $("a[rel=next]")?.textContent ?? "");
const showPlace = () => {
  const all = parts(), place = `${at + 1} / ${all.length}`, next = titleOf(all[at + 1]);
  $(".place", bar()).textContent = speaking ? `${place} · ${titleOf(all[at])}${next && ` → ${next}`}` : place;
};
const openNotes = () => {
  const opened = open(`${location.pathname}#speaker`, "souron-notes", "popup,width=760,height=640");
  $(".told", bar()).textContent = opened ? "" : word("blocked");
  opened?.focus();
};
const follow = async ({ path, at: place, time }) => {
  if (path !== loaded && !(await turn(path, "#speaker"))) return;
  at = place;
  showPlace();
  showTime(time);
};

// the largest type at which the part fits; it becomes smaller, too, where more is shown later
let size = 1;
const fit = () => {
  const root = document.documentElement;
  document.body.style.setProperty("--bar", `${bar().offsetHeight}px`);
  document.body.style.setProperty("--type", String(size));
  while (size > SMALLEST && root.scrollHeight > root.clientHeight) {
    size -= 0.05;
    document.body.style.setProperty("--type", String(size));
  }
};
const resized = new ResizeObserver(() => { if (presenting()) fit(); });

const show = () => {
  parts().forEach((part, place) => part.classList.toggle("now", place === at));
  showPlace();
  history.replaceState(null, "", `${location.pathname}#beamer-${at + 1}`);
  document.body.classList.remove("blank");
  $(".told", bar()).textContent = "";
  pen.wipe();
  count();
  size = 1;
  fit();
  resized.disconnect();
  resized.observe(parts()[at]);
  scrollTo(0, 0);
  const heading = $("h1, h2, p", parts()[at]);
  if (heading) { heading.tabIndex = -1; heading.focus({ preventScroll: true }); }
};
const beam = (place, anew = false) => {
  if (!bar() || !parts().length) return;
  document.body.classList.add("beamer");
  bar().hidden = false;
  at = Math.min(place < 0 ? Infinity : place, parts().length - 1);
  ask(null);
  startTimer(anew);
  show();
};
const leave = () => {
  if (speaking) return close();
  pen.wipe();
  pen.toggle(false);
  ask(null);
  document.body.classList.remove("beamer", "blank");
  document.body.style.removeProperty("--type");
  resized.disconnect();
  bar().hidden = true;
  if (document.fullscreenElement) document.exitFullscreen();
  parts()[at].scrollIntoView();
  history.replaceState(null, "", location.pathname);
};

// another page without leaving full screen; where that fails, in the ordinary way
let turning = false;
const turn = async (address, hash, push = true) => {
  if (turning) return false;
  turning = true;
  try {
    const answer = await fetch(address);
    if (!answer.ok) throw new Error(answer.statusText);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (!page.querySelector(".beaming")) throw new Error(address);
    if (timer) count(); // until here the time belongs to the page that is left
    for (const id of /** @type {const} */ (["head", "page"])) document.getElementById(id).replaceWith(page.getElementById(id));
    document.title = page.title;
    if (push) history[speaking ? "replaceState" : "pushState"](null, "", address + hash);
    loaded = location.pathname;
    if (speaking) speak(); else begin();
    return true;
  } catch {
    location.assign(address + hash);
    return false;
  } finally {
    turning = false;
  }
};
const go = async (by) => {
  const link = $(by > 0 ? "a[rel=next]" : "a[rel=prev]");
  if (parts()[at + by]) { at += by; ask(null); show(); }
  else if (link && await turn(link.getAttribute("href"), by > 0 ? "#beamer-1" : "#beamer-last")) beam(by > 0 ? 0 : -1);
};

// questions of the page: those that ask for a guess first, and exercises; the answer of one stays hidden until a press
const QUESTIONS = ".part .guess, .part form.exercise";
let asked = null;
const holder = (question) => question.closest(".interactive") ?? question;
const ask = (question) => {
  for (const other of $$(".covered")) other.classList.remove("covered");
  asked = question;
  const answer = $("[data-do=answer]", bar());
  answer.disabled = !question;
  if (!question) return;
  holder(question).classList.add("covered");
  for (const details of $$("details.answer", holder(question))) details.open = false;
};
const nextQuestion = () => {
  const all = $$(QUESTIONS), order = parts();
  const place = (question) => order.indexOf(question.closest(".part"));
  const next = all[asked ? all.indexOf(asked) + 1 : all.findIndex((question) => place(question) >= at)];
  if (!next) { $(".told", bar()).textContent = word("none"); return; }
  at = place(next);
  show();
  ask(next);
  next.tabIndex = -1;
  next.scrollIntoView({ block: "nearest" });
  next.focus({ preventScroll: true });
};
const reveal = () => {
  if (!asked) return;
  const question = asked, whole = holder(question), details = $("details.answer", whole);
  ask(null);
  asked = question;
  if (!details) return $("[data-do=show]", question).click();
  if ($(".stage", whole).hidden) $("[data-do=skip]", question).click();
  details.open = true;
  details.scrollIntoView({ block: "nearest" });
};

const fullScreen = () => (document.fullscreenElement ? document.exitFullscreen()
  : document.documentElement.requestFullscreen?.().catch(() => {}));
const pause = () => { count(); timer.running = !timer.running; count(); };
const LOCAL = {
  keys: () => $("dialog.keys").showModal(),
  full: fullScreen,
  leave,
  notes: openNotes,
  pen: () => pen.toggle(),
  eraser: () => { if (pen.drawing()) pen.choose("eraser"); },
  wipe: () => pen.wipe(),
};
const SHARED = { // also from the notes' window
  on: () => go(1),
  back: () => go(-1),
  question: nextQuestion,
  answer: reveal,
  pause,
  reset: () => { reset(); count(); },
  blank: () => document.body.classList.toggle("blank"),
};
const act = (does) => {
  if (LOCAL[does]) LOCAL[does]();
  else if (speaking) channel.postMessage({ does });
  else SHARED[does]?.();
};
const escape = () => {
  if (document.body.classList.contains("blank")) document.body.classList.remove("blank");
  else if (pen.drawing()) pen.toggle(false);
  else leave();
};
const KEYS = {
  arrowright: "on", pagedown: "on", arrowleft: "back", pageup: "back", q: "question", a: "answer", d: "pen", e: "eraser",
  w: "wipe", n: "notes", p: "pause", r: "reset", f: "full", b: "blank", ".": "blank", "?": "keys",
};
const TYPED = "textarea, select, [contenteditable], input:not([type=radio], [type=checkbox], [type=range], [type=file])";
const MOVED = "input, canvas, [role=slider]"; // arrows belong to these
const pressed = (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.altKey || event.metaKey || !(presenting() || speaking)) return;
  if ($("dialog.keys").open) return;
  const key = event.key.toLowerCase(), within = (what) => event.target.closest?.(what);
  if (key === "escape") escape();
  else if (within(TYPED) || (key.startsWith("arrow") && within(MOVED))) return;
  else if (pen.drawing() && "1234".includes(key)) pen.choose($$(".ink")[Number(key) - 1].dataset.ink);
  else if (KEYS[key] && !(speaking && ["pen", "eraser", "wipe", "notes"].includes(KEYS[key]))) act(KEYS[key]);
  else return;
  event.preventDefault();
};

const speak = () => {
  document.body.classList.add("speaker");
  bar().hidden = false;
  for (const notes of $$("details.spoken")) notes.open = true;
  showPlace();
};

// `start` begins a page's script: now, and for each page that follows
export const present = (start) => {
  begin = start;
  begin();
  if (!bar()) return;
  channel.onmessage = ({ data }) => {
    if (speaking) { if (data.path) follow(data); return; }
    if (!presenting()) return;
    if (data.does) SHARED[data.does]?.();
    else if (data.ask) tell();
  };
  addEventListener("keydown", pressed);
  document.addEventListener("click", (event) => {
    const button = event.target.closest(".beaming button, .way [data-do=beamer]");
    if (!(button instanceof HTMLElement)) return;
    if (button.dataset.ink) pen.choose(button.dataset.ink);
    else if (button.dataset.do === "beamer") beam(0, true);
    else act(button.dataset.do);
  });
  addEventListener("popstate", async () => {
    if (location.pathname === loaded) return;
    const wanted = hashed();
    if (!presenting() || !wanted) location.reload();
    else if (await turn(location.pathname, location.hash, false)) beam(...wanted);
  });
  addEventListener("resize", () => { if (presenting()) { size = 1; fit(); } });
  setInterval(() => { if (presenting()) count(); }, 1000);
  const wanted = hashed();
  if (speaking) {
    speak();
    channel.postMessage({ ask: true });
  } else if (wanted) beam(...wanted);
};
// "#beamer" begins, "#beamer-3" and "#beamer-last" go on there
/** @type {() => [place: number, anew: boolean] | null} */
const hashed = () => {
  const found = location.hash.match(/^#beamer(?:-(\d+|last))?$/);
  return found && [found[1] === "last" ? -1 : Number(found[1] ?? 1) - 1, !found[1]];
};
