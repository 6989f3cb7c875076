// The studio's own script: language, light and dark, copying, labels that Gradio leaves out.
"use strict";
(() => {
  const { language } = /** @type {any} */ (document.currentScript).dataset;
  // Gradio takes the language of its own words from the browser; they are to match the page's
  Object.defineProperty(navigator, "language", { get: () => language });
  Object.defineProperty(navigator, "languages", { get: () => [language] });
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

  // Gradio opens a list again when its field is left with the keyboard
  addEventListener("keydown", (event) => {
    const field = event.target.matches?.("[role=combobox]");
    if (field && ["Tab", "Shift"].includes(event.key)) event.stopImmediatePropagation();
  }, true);

  // the same as text, lists and links within the studio, whatever else it may hold
  const KEPT = ["div", "dl", "dt", "dd", "details", "summary", "pre", "code", "a"];
  const plain = (node) => {
    if (node.nodeType !== Node.ELEMENT_NODE) return node.nodeType === Node.TEXT_NODE ? node.textContent : "";
    const kind = KEPT.includes(node.localName) ? node.localName : "span";
    const made = document.createElement(kind);
    if (node.matches("div.trouble")) made.className = "trouble";
    const address = node.getAttribute("href") ?? "";
    if (kind === "a" && /^\/(en|ja)\/machine$/.test(address)) made.href = address;
    made.append(...[...node.childNodes].map(plain));
    return made;
  };

  // what went wrong with what a page asked, which Gradio does not show; until it is closed
  const complain = (answer) => {
    const said = new DOMParser().parseFromString(answer.error ?? answer.detail ?? "", "text/html");
    const found = said.querySelector(".trouble");
    const wrong = document.getElementById("wrong");
    wrong.querySelector("div")?.replaceChildren(found ? plain(found) : said.body.textContent);
    wrong.hidden = false;
  };

  // a part of a page that htmx asked for in vain; what is asked again and again stays silent
  document.addEventListener("htmx:response:error", ({ detail: { ctx } }) => complain({ detail: ctx.text }));
  document.addEventListener("htmx:error", ({ detail: { ctx } }) => {
    if (ctx && !ctx.sourceElement.matches("[hx-trigger*=every]")) complain({ detail: document.getElementById("wrong").dataset.unanswered });
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

  // a page asks one thing after the other, each once the one before is answered as a whole: else an
  // older answer could come later and take the place of a newer one
  const ask = window.fetch;
  /** @type {Promise<unknown>} */
  let before = Promise.resolve();
  /** @type {typeof fetch} */
  const askInTurn = async (...given) => {
    const answer = await ask(...given).then(noted);
    const whole = await answer.clone().text();
    if (!answer.ok) {
      try { complain(JSON.parse(whole)); } catch { complain({}); }
    }
    return answer;
  };
  window.fetch = (...given) => {
    const [what] = given;
    if (!String(what instanceof Request ? what.url : what).includes("/run/predict")) return ask(...given).then(noted);
    const answered = before.then(() => askInTurn(...given));
    before = answered.catch(() => {});
    return answered;
  };

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
  const begun = new WeakSet(); // Gradio may draw a part a second time, and then it begins anew
  const begin = async (part) => {
    if (begun.has(part)) return;
    begun.add(part);
    const module = await import(part.dataset.module);
    await whole;
    await module.begin(part);
    part.dataset.begun = ""; // from here on it answers
  };

  // what a screen reader needs and Gradio's components leave out
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
