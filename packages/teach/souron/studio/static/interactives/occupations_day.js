// Tasks as tiles: press those that are exposed, then see the judgements.
import { fill } from "./common.js";

const SIGNS = { E0: "○", E1: "●", E2: "◑" };

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, field, on, part, show, words }) => {
  let guess = new Set(), told = false;
  const draw = (found) => {
    part("tasks").replaceChildren(...found.tasks.map((task, i) => {
      const item = document.createElement("li"), button = document.createElement("button");
      button.type = "button";
      button.textContent = task.task;
      button.setAttribute("aria-pressed", String(guess.has(i)));
      button.disabled = told;
      const lines = [];
      if (told) {
        lines.push(`${SIGNS[task.people]} ${fill(words.people, { label: task.people })}`);
        if (task.gpt4) lines.push(`${SIGNS[task.gpt4]} ${fill(words.gpt4, { label: task.gpt4 })}`);
        if (guess.has(i)) lines.push(words.you);
      }
      if (!task.core) lines.push(words.half);
      for (const line of lines) {
        const small = document.createElement("small");
        small.textContent = line;
        small.lang = document.documentElement.lang;
        button.append(small);
      }
      button.addEventListener("click", () => {
        if (!guess.delete(i)) guess.add(i);
        button.setAttribute("aria-pressed", String(guess.has(i)));
      });
      item.append(button);
      return item;
    }));
  };
  const begin = async () => {
    guess = new Set();
    told = false;
    const found = await ask({ occupation: field("occupation").value });
    if (!found) return;
    draw(found);
    show("shown", fill(words.shown, { title: found.title, count: found.tasks.length }));
    for (const name of ["people", "gpt4", "agree"]) show(name, "");
  };
  on("reveal", async () => {
    const found = await ask({ occupation: field("occupation").value, guess: [...guess].map((i) => [i]) });
    if (!found) return;
    told = true;
    draw(found);
    for (const who of ["people", "gpt4"]) {
      if (found.figures[who]) show(who, fill(words.figures, { judge: words[`by ${who}`], ...found.figures[who] }));
    }
    show("agree", fill(words.agree, found.agree));
  });
  field("occupation").addEventListener("change", begin);
  await begin();
};
