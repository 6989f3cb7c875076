// Draw the patients for testing again and again; every AUC stays on the strip.
import { bytes, clear, fill, paint } from "./common.js";
import { dots, line, plot as axes, rule } from "./plot.js";

const SIDE = 8;  // pixels of a picture

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, canvas, colour, field, keep, kept, on, plot, repaint, say, show, words }) => {
  const WAYS = { patients: "class0", images: "class1" };
  let draws = [], busy = false;
  const patients = () => Number(field("patients").value);
  const system = () => Number(field("shown").value);
  const names = [...field("shown").options].map((option) => option.textContent);

  const drawCases = () => {
    const plane = canvas("cases"), context = plane.getContext("2d"), now = draws.at(-1);
    clear(plane);
    if (!now) return;
    const wide = (plane.width - 8) / patients(), high = 12;
    Object.entries(WAYS).forEach(([way, name], part) => {
      const top = 22 + 100 * part, test = new Set(now[way].test);
      context.fillStyle = colour("ink");
      context.font = "13px system-ui, sans-serif";
      context.fillText(words[way], 4, top - 7);
      for (let row = 0; row < patients() * now.each; row++) {
        const x = 4 + Math.floor(row / now.each) * wide, y = top + (row % now.each) * high;
        if (test.has(row)) {
          context.fillStyle = colour(name);
          context.fillRect(x + 0.5, y + 0.5, Math.max(wide - 1.5, 1), high - 2);
        } else {
          context.strokeStyle = colour("muted");
          context.lineWidth = 0.5;
          context.strokeRect(x + 0.5, y + 0.5, Math.max(wide - 1.5, 1), high - 2);
        }
      }
    });
    const values = bytes(now.pictures), cells = SIDE * SIDE, grid = canvas("pictures"), size = grid.width / 6;
    for (let row = 0; row < 36; row++) {
      const box = { x: Math.floor(row / 6) * size + 1, y: (row % 6) * size + 1, width: size - 2, height: size - 2 };
      paint(grid, values.subarray(row * cells, (row + 1) * cells), SIDE, SIDE, { box });
    }
  };

  const drawStrip = () => {
    const some = draws.slice(-60), low = 0.2;
    Object.entries(WAYS).forEach(([way, name], part) => {
      const made = axes(plot("strip"), {
        x: { domain: [low, 1], ticks: 4, label: "AUC" }, y: { domain: [Math.max(some.length, 24) + 0.5, 0.5], ticks: 0, label: words[way] },
        span: [part / 2, (part + 1) / 2], left: 14,
      });
      rule(made, { x: 0.5 }, "muted", { dash: "2 4" });
      if (some.length) rule(made, { x: mean(some.map((one) => one[way].auc[system()][3])) }, "class2", { dash: "6 3", width: 2 });
      some.forEach((one, i) => {
        const [value, from, to, outside] = one[way].auc[system()];
        line(made, [[Math.max(from, low), i + 1], [to, i + 1]], name, { width: i === some.length - 1 ? 2.5 : 1 });
        dots(made, [[value, i + 1]], name, { size: 3 });
        line(made, [[outside, i + 0.7], [outside, i + 1.3]], "class2");
      });
    });
  };

  const tell = () => {
    for (const name of ["draws", "held", "verdict", "changes", "torn"]) show(name, "");
    if (!draws.length) return;
    const of = (way, place) => draws.map((one) => one[way].auc[system()][place]);
    const decimal = (value) => value.toFixed(3), honest = of("patients", 0), truth = mean(of("patients", 3));
    const holds = (way, level) => draws.filter((one) => one[way].auc[system()][1] <= level && level <= one[way].auc[system()][2]).length;
    const verdicts = (way, word) => draws.filter((one) => one[way].verdict === word).length;
    const winners = draws.map((one) => one.patients.difference[0] > 0);
    const [first, second] = names;
    show("draws", fill(words.draws, {
      draws: draws.length, system: names[system()], low: decimal(Math.min(...honest)), high: decimal(Math.max(...honest)),
      mean: decimal(mean(honest)), outside: decimal(truth), leaking: decimal(mean(of("images", 0))),
    }));
    show("held", fill(words.held, { held: holds("patients", truth), wrongly: holds("images", mean(of("images", 3))), draws: draws.length }));
    show("verdict", fill(words.verdict, {
      first, second, better: verdicts("patients", "better"), worse: verdicts("patients", "worse"), unknown: verdicts("patients", "cannot tell"),
      leaking_better: verdicts("images", "better"), leaking_worse: verdicts("images", "worse"), leaking_unknown: verdicts("images", "cannot tell"),
    }));
    show("changes", fill(words.changes, {
      first, ahead: winners.filter(Boolean).length, draws: draws.length,
      changed: winners.filter((won, i) => i && won !== winners[i - 1]).length,
    }));
    show("torn", fill(words.torn, { torn: draws.at(-1).torn, patients: patients() }));
  };
  const drawAll = () => { drawCases(); drawStrip(); tell(); };

  const more = async (count) => {
    if (busy) return;
    busy = true;
    for (let i = 0; i < count; i++) {
      if (draws.length && draws.length >= draws[0].draws) { say(fill(words.ended, { draws: draws.length })); break; }
      const found = await ask({ patients: field("patients").value, seed: draws.length });
      if (!found) break;
      draws.push(found);
      drawAll();
    }
    keep({ draws: draws.length });
    busy = false;
  };
  const again = async () => {
    if (busy) return;
    draws = [];
    drawAll();
    await more(1);
  };
  on("once", () => more(1));
  on("twenty", () => more(20));
  on("again", again);
  field("patients").addEventListener("change", again);
  field("shown").addEventListener("change", drawAll);
  repaint(drawAll);
  await more(Math.min(Math.max(Number(kept.draws) || 1, 1), 60));
};
