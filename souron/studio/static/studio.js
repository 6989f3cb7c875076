// The studio's own script: language, light and dark, copying, errors, the jobs' notices.
"use strict";
(() => {
  const { language } = /** @type {any} */ (document.currentScript).dataset;
  document.documentElement.lang = language;
  document.cookie = `language=${language};path=/;SameSite=Strict;max-age=31536000`;

  const dark = () => localStorage.getItem("dark") ??
    String(matchMedia("(prefers-color-scheme: dark)").matches);
  const paint = () => {
    document.body?.classList.toggle("dark", dark() === "true");
    // the server shows reports in the same way
    document.cookie = `dark=${dark()};path=/;SameSite=Strict;max-age=31536000`;
  };
  paint();
  document.addEventListener("DOMContentLoaded", paint);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

  // what went wrong before does not stand beside what comes of the next button; before any script of the page
  // hears of the press, which may go wrong at once
  document.addEventListener("click", (event) => {
    const wrong = document.getElementById("wrong");
    if (wrong && event.target.closest("#page button")) wrong.hidden = true;
  }, true);

  document.addEventListener("click", (event) => {
    /** @type {any} */
    const button = event.target.closest("button[data-dark], button[data-copy], button[data-close], a[data-language], a.skip");
    if (!button) return;
    if (button.matches("[data-close]")) {
      button.parentElement.hidden = true;
    } else if (button.matches("[data-dark]")) {
      localStorage.setItem("dark", String(dark() !== "true"));
      paint();
      for (const frame of document.querySelectorAll("iframe.frame")) frame.setAttribute("src", frame.getAttribute("src") ?? "");
    } else if (button.matches(".skip")) {
      event.preventDefault(); // the page's base would make it another address
      const page = document.getElementById("page");
      page.tabIndex = -1;
      page.focus();
    } else if (button.matches("[data-copy]")) {
      navigator.clipboard.writeText(button.parentElement.querySelector("pre").textContent);
      button.classList.add("copied");
      setTimeout(() => button.classList.remove("copied"), 1200);
    } else {
      button.search = location.search; // the same page in the other language, in the same state
      button.hash = location.hash;
    }
  });

  // what went wrong with a part of the page that htmx asked for, until it is closed; the policy lets no script of it
  // run. What is asked again and again stays silent.
  const complain = (html) => {
    const wrong = document.getElementById("wrong");
    wrong.querySelector("div")?.replaceChildren(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
    wrong.hidden = false;
  };
  document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => complain(ctx.text));
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
    if (ctx && !ctx.sourceElement.matches("[hx-trigger*=every]")) complain(document.getElementById("wrong").dataset.unanswered);
  });

  // jobs that were started from this browser: their ids are kept until their end was seen
  const EVERY = 5000; // milliseconds
  const mine = () => {
    try { return JSON.parse(localStorage.getItem("jobs") ?? "[]"); } catch { return []; }
  };
  const keep = (ids) => localStorage.setItem("jobs", JSON.stringify([...new Set(ids)].slice(-50)));
  const forget = (id) => {
    keep(mine().filter((other) => other !== id));
    document.querySelector(`#notices [data-notice="${id}"]`)?.remove();
  };
  const noted = (answer) => {
    const started = answer.headers.get("x-souron-jobs");
    if (started) {
      keep([...mine(), ...started.split(",")]);
      clock = setTimeout(look, 1000);
    }
    return answer;
  };
  const notices = () => {
    const made = document.getElementById("notices") ?? document.createElement("aside");
    if (!made.isConnected) {
      made.id = "notices";
      made.setAttribute("role", "status");
      document.body.append(made);
    }
    return made;
  };
  const notice = (id, text, link, open, close) => {
    const place = notices();
    if (place.querySelector(`[data-notice="${id}"]`)) return;
    const item = document.createElement("div"), shut = document.createElement("button"), way = document.createElement("a");
    item.dataset.notice = id;
    shut.type = "button";
    shut.textContent = "×";
    shut.setAttribute("aria-label", close);
    for (const press of [shut, way]) press.addEventListener("click", () => forget(id));
    item.append(Object.assign(document.createElement("p"), { textContent: text }), shut);
    if (link) item.append(Object.assign(way, { href: link, textContent: open }));
    place.append(item);
  };
  let clock = 0;
  // asks only while a job of this browser is alive and the page is seen
  const look = async () => {
    clearTimeout(clock);
    const ids = mine();
    if (!ids.length || document.hidden) return;
    const sent = { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ids }) };
    const answer = await ask(`/do/${language}/queue/ended`, sent).catch(() => null);
    if (!answer?.ok) return;
    const told = await answer.json();
    const here = (id) => document.querySelector(`[data-job="${id}"]`)?.checkVisibility() ?? false;
    const seen = told.over.map((job) => job.id).filter(here);
    const known = new Set([...told.alive, ...told.over.map((job) => job.id)]);
    keep(mine().filter((id) => !ids.includes(id) || (known.has(id) && !seen.includes(id))));
    notices();
    for (const job of told.over) {
      if (!seen.includes(job.id)) notice(job.id, job.text, job.link, told.open, told.close);
    }
    const queue = location.pathname.endsWith("/queue");
    if (told.paused && told.alive.length && !queue) notice("paused", told.paused, `/${language}/queue`, told.queue, told.close);
    else forget("paused");
    if (told.alive.length) clock = setTimeout(look, EVERY);
  };
  document.addEventListener("visibilitychange", look);
  addEventListener("storage", (event) => { if (event.key === "jobs") look(); });
  document.addEventListener("DOMContentLoaded", () => setTimeout(look, 500));

  // whatever a page asks may start a job
  const ask = window.fetch;
  window.fetch = (...given) => ask(...given).then(noted);

  // where a browser's own style sheet cannot follow a slider
  document.documentElement.classList.add("sliders");
  document.addEventListener("input", (event) => {
    /** @type {any} */
    const figure = event.target.matches("input[type=range]") && event.target.closest(".before-after");
    if (figure) figure.style.setProperty("--at", `${event.target.value}%`);
  });

  // a part with a script of its own, once all of it is there: while the page is loading, the parser may stand within it
  const whole = new Promise((done) => {
    if (document.readyState === "loading") document.addEventListener("readystatechange", done, { once: true });
    else done(null);
  });
  const begun = new WeakSet(); // a part that is drawn anew begins anew
  const begin = async (part) => {
    if (begun.has(part)) return;
    begun.add(part);
    const module = await import(part.dataset.module);
    await whole;
    await module.begin(part);
    part.dataset.begun = ""; // from here on it answers
  };

  // what was drawn anew
  const mend = () => {
    for (const table of document.querySelectorAll(".scroll[tabindex]")) {
      table.setAttribute("role", "region");
      table.setAttribute("aria-label", table.querySelector("caption")?.textContent || "table");
    }
    document.querySelectorAll("[data-module]").forEach(begin);
    const address = document.querySelector("[data-address]")?.getAttribute("data-address");
    if (address && address !== location.pathname + location.search) {
      history.replaceState(null, "", address);
    }
  };
  new MutationObserver(mend).observe(document.documentElement, { childList: true, subtree: true });
  mend(); // the page may have been drawn before this script came
})();
