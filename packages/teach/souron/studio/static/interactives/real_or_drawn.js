// Twenty pictures: press those that are drawn, then see the truth and the detector's answers.
import { bytes, fill, paint } from "./common.js";

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, field, on, part, show, words }) => {
  if (!field("seed")) return;
  let guess = new Set();
  const draw = (found) => {
    const all = bytes(found.pictures), cells = found.side ** 2;
    part("tiles").replaceChildren(...Array.from({ length: found.count }, (_, i) => {
      const item = document.createElement("li"), button = document.createElement("button"), canvas = document.createElement("canvas");
      button.type = "button";
      button.setAttribute("aria-pressed", String(guess.has(i)));
      canvas.width = canvas.height = 84;
      paint(canvas, all.subarray(i * cells, (i + 1) * cells), found.side, found.side);
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", fill(words.picture, { number: i + 1 }));
      button.append(canvas);
      item.append(button);
      if (found.who) {
        button.disabled = true;
        for (const line of [found.who[i] ? fill(words.drawn, { who: found.who[i] }) : words.real, fill(words.score, { score: Math.round(100 * found.score[i]) })]) {
          const small = document.createElement("small");
          small.textContent = line;
          item.append(small, document.createElement("br"));
        }
      }
      button.addEventListener("click", () => {
        if (!guess.delete(i)) guess.add(i);
        button.setAttribute("aria-pressed", String(guess.has(i)));
      });
      return item;
    }));
  };
  const begin = async () => {
    guess = new Set();
    const found = await ask({ seed: Number(field("seed").value) });
    if (!found) return;
    draw(found);
    show("begin", words.begin);
    for (const name of ["you", "detector", "after"]) show(name, "");
  };
  on("reveal", async () => {
    const found = await ask({ seed: Number(field("seed").value), guess: [...guess].map((i) => [i]) });
    if (!found) return;
    draw(found);
    for (const name of ["you", "detector", "after"]) show(name, fill(words[name], found[name]));
  });
  field("seed").addEventListener("change", begin);
  await begin();
};
