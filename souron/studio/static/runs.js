// Results: search, filters and order are in the address; a selection is compared or goes to the bin.
import { ask, complain, fill, words as filled } from "./plain.js";

const OFTEN = 5000; // milliseconds between two looks at the jobs while one is waiting or running
const SELDOM = 20000;
const TYPED = 250; // after the last letter of a search
const TOLD = "souron-told"; // what an action says on the page that it leads to

export const begin = (root) => {
  const words = JSON.parse(root.dataset.words);
  const find = (selector, where = root) => where.querySelector(selector);
  const act = (name, asked) => ask(`/do/${root.dataset.page}/${name}`, asked ?? {});
  const tried = (promise) => promise.catch((error) => complain(error.message));
  const tell = (html) => {
    const place = find(".told");
    if (place) fill(place, html);
  };
  const lead = ({ go, html }) => {
    sessionStorage.setItem(TOLD, html);
    location.assign(go);
  };

  tell(sessionStorage.getItem(TOLD) ?? "");
  sessionStorage.removeItem(TOLD);

  // the list

  const list = find(".list");
  const controls = [...root.querySelectorAll(".filters [name]")];
  const picked = new Map(); // name of a run -> its task, or "" where it cannot be compared
  let asked = 0;

  const refresh = async () => {
    const number = ++asked;
    root.classList.add("busy");
    try {
      const told = await act("list", Object.fromEntries(new URLSearchParams(location.search)));
      if (number === asked) fill(list, told.html); // not an older answer
    } catch (error) {
      complain(error.message);
    }
    if (number !== asked) return;
    root.classList.remove("busy");
    for (const box of list.querySelectorAll("input[type=checkbox]")) box.checked = picked.has(box.value);
  };

  const go = (address, instead = false) => {
    history[instead ? "replaceState" : "pushState"](null, "", address);
    return refresh();
  };

  const filter = (instead) => {
    const query = new URLSearchParams(location.search);
    for (const control of controls) {
      if (control.value) query.set(control.name, control.value);
      else query.delete(control.name);
    }
    query.delete("part");
    const text = query.toString();
    return go(location.pathname + (text ? `?${text}` : ""), instead);
  };

  const bar = find(".picked");
  const mark = () => {
    const tasks = new Set(picked.values());
    const fine = picked.size > 1 && tasks.size === 1 && !tasks.has("");
    bar.hidden = !picked.size;
    find("[data-do=compare]", bar).disabled = !fine;
    const count = filled(words.selected, { count: picked.size });
    find("[role=status]", bar).textContent = fine ? count : `${count}. ${words.compare}`;
  };

  let waiting;
  for (const control of controls) {
    const typed = control.type === "search";
    control.addEventListener(typed ? "input" : "change", () => {
      clearTimeout(waiting);
      if (typed) waiting = setTimeout(() => filter(true), TYPED);
      else filter(false);
    });
  }

  if (list) {
    const follow = () => { // the address; true where the controls were set otherwise
      const query = new URLSearchParams(location.search);
      const other = controls.filter((control) => control.value !== (query.get(control.name) ?? ""));
      for (const control of other) control.value = query.get(control.name) ?? "";
      return other.length > 0;
    };
    addEventListener("popstate", () => {
      follow();
      refresh();
    });
    if (follow()) refresh(); // the browser went back, or filled them in, before this script came
    list.addEventListener("change", ({ target }) => {
      if (target.checked) picked.set(target.value, target.dataset.task);
      else picked.delete(target.value);
      mark();
    });
    addEventListener("pageshow", (event) => {
      if (event.persisted) refresh(); // what was deleted meanwhile is gone
    });
  }

  // what can be done

  const chosen = () => (find(".one") ? [find(".one").dataset.run] : [...picked.keys()]);
  const box = find(".question");
  let about = []; // what the question is about

  const DO = {
    compare: () => {
      const query = new URLSearchParams([...picked.keys()].map((name) => ["compare", name]));
      location.assign(`${location.pathname}?${query}`);
    },
    none: () => {
      picked.clear();
      for (const one of list.querySelectorAll("input:checked")) one.checked = false;
      mark();
    },
    delete: async () => {
      about = chosen();
      const { question } = await act("question", { runs: about });
      find("p", box).textContent = question;
      box.hidden = false;
      find("[data-do=no]", box).focus();
    },
    no: () => { box.hidden = true; },
    yes: async () => {
      box.hidden = true;
      const told = await act("delete", { runs: about }).finally(() => list && refresh());
      if (!list) return lead(told);
      for (const name of about) picked.delete(name);
      mark();
      tell(told.html);
      return refresh();
    },
    rename: async () => lead(await act("rename", { run: find(".one").dataset.run, name: find(".one [name=name]").value })),
    resume: async (button) => {
      tell((await act("resume", { run: find(".one").dataset.run })).html);
      button.remove();
    },
    elsewhere: async () => {
      const format = find(".one [name=format]").value;
      tell((await act("elsewhere", { run: find(".one").dataset.run, format })).html);
    },
    stop: async (button) => { tell((await act("stop", { job: button.dataset.job })).html); await look(); },
  };

  root.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-go]");
    if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      go(link.getAttribute("href"));
      return;
    }
    const button = event.target.closest("button[data-do]");
    if (!button || button.disabled) return;
    button.disabled = true;
    tried(Promise.resolve(DO[button.dataset.do](button))).finally(() => {
      button.disabled = false;
      if (bar) mark();
    });
  });
  root.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target.matches("[name=name]")) find("[data-do=rename]").click();
    if (event.key === "Escape" && box) box.hidden = true;
  });

  // the jobs

  const look = async () => {
    const place = find("#jobs");
    const holder = document.createElement("div");
    fill(holder, (await act("jobs")).html);
    if (holder.firstElementChild?.getAttribute("data-mark") === place.dataset.mark) return;
    place.replaceWith(...holder.childNodes);
    refresh(); // a job that ends has made something
  };
  const poll = () => {
    const place = find("#jobs");
    if (!place) return;
    setTimeout(() => {
      (document.hidden ? Promise.resolve() : look()).catch(() => {}).finally(poll);
    }, place.hasAttribute("data-alive") ? OFTEN : SELDOM);
  };
  poll();

  // the verdict on runs

  const compared = find(".compared");
  if (compared) {
    compared.setAttribute("aria-busy", "true");
    act("compare", { runs: JSON.parse(compared.dataset.runs) })
      .then(({ html }) => fill(compared, html), (error) => fill(compared, error.message))
      .finally(() => compared.removeAttribute("aria-busy"));
  }
  root.dataset.ready = ""; // from here on a press is heard
};
