// The tour of an interactive: each step points at a part of the stage, some ask for a guess, which is kept.

const find = (root, name) => {
  const part = ["name", "data-canvas", "data-plot", "data-part", "data-do"].map((kind) => root.querySelector(`.play [${kind}="${name}"]`)).find(Boolean);
  return part?.closest("label, figure") ?? part;
};

// guesses of earlier visits, {step: choice}; a browser may forbid to keep anything
const storage = (name) => {
  const key = `interactive-${name}`;
  let guesses = {};
  try { guesses = JSON.parse(localStorage.getItem(key) ?? "null")?.tour ?? {}; } catch { /* nothing is kept */ }
  return {
    guesses,
    keep: (step, choice) => {
      guesses[step] = choice;
      try { localStorage.setItem(key, JSON.stringify({ tour: guesses })); } catch { /* nothing is kept */ }
    },
  };
};

// ``say(text)`` shows a status, ``fill(text, fields)`` fills a text's places; returns what points anew
// where the stage was drawn again
export const tour = (root, words, fill, say) => {
  const steps = JSON.parse(root.dataset.tour);
  const box = root.querySelector(".tour"), opener = root.querySelector('[data-tour-do="open"]');
  if (!box) return () => {};
  const within = (selector) => box.querySelector(selector);
  const press = (does, act) => root.querySelector(`[data-tour-do="${does}"]`).addEventListener("click", act);
  const kept = storage(root.dataset.interactive);
  const choices = within("fieldset");
  let at = 0;

  const unpoint = () => root.querySelector(".pointed")?.classList.remove("pointed");
  const point = () => {
    unpoint();
    if (box.hidden) return;
    const part = find(root, steps[at].part);
    if (!part) return;
    const folded = part.closest(".play details");
    if (folded) folded.open = true;
    part.classList.add("pointed");
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    part.scrollIntoView({ block: "center", behavior: still ? "auto" : "smooth" });
  };
  const judge = () => {
    const { choices: texts, right } = steps[at], guess = kept.guesses[at];
    const known = texts?.[guess] !== undefined;
    within(".judged").textContent = known ? fill(guess === right ? words.right : words.wrong, { guess: texts[guess] }) : "";
  };
  const ask = () => {
    const texts = steps[at].choices ?? [];
    choices.hidden = !texts.length;
    choices.replaceChildren(...texts.map((text, choice) => {
      const label = document.createElement("label"), radio = document.createElement("input");
      Object.assign(radio, { type: "radio", name: `tour-${root.dataset.interactive}`, value: choice, checked: kept.guesses[at] === choice });
      radio.addEventListener("change", () => { kept.keep(at, choice); judge(); });
      label.append(radio, ` ${text}`);
      return label;
    }));
  };
  const show = (step) => {
    at = step;
    within(".place").textContent = fill(words.step_of, { step: at + 1, steps: steps.length });
    within(".text").textContent = steps[at].text;
    root.querySelector('[data-tour-do="back"]').disabled = at === 0;
    root.querySelector('[data-tour-do="next"]').textContent = at === steps.length - 1 ? words.finish : words.next;
    ask();
    judge();
    point();
    box.focus({ preventScroll: true });
  };
  const close = () => {
    box.hidden = true;
    unpoint();
    opener.focus();
  };
  const finish = () => {
    const asked = steps.flatMap(({ right }, step) => (right === undefined ? [] : [kept.guesses[step] === right]));
    close();
    if (asked.length) say(fill(words.score, { right: asked.filter(Boolean).length, count: asked.length }));
  };
  press("open", () => { box.hidden = false; show(0); });
  press("back", () => show(Math.max(at - 1, 0)));
  press("next", () => (at === steps.length - 1 ? finish() : show(at + 1)));
  press("close", close);
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  });
  return point;
};
