// Draw the patients for testing again and again; every AUC stays on the strip.
import { bytes, clear, fill, paint } from "./common.js";

const SIDE = 8;  // pixels of a picture

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

export const start = async (root, { ask, canvas, colour, field, keep, kept, on, repaint, say, show, words }) => {
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
    const plane = canvas("strip"), context = plane.getContext("2d"), { width, height } = plane, half = width / 2;
    clear(plane);
    const some = draws.slice(-60), low = 0.2, step = Math.min(16, (height - 62) / Math.max(some.length, 1));
    Object.entries(WAYS).forEach(([way, name], part) => {
      const x = (value) => part * half + 14 + (half - 28) * (Math.max(value, low) - low) / (1 - low);
      context.fillStyle = colour("ink");
      context.font = "13px system-ui, sans-serif";
      context.textAlign = "center";
      context.fillText(words[way], part * half + half / 2, 16);
      context.font = "12px system-ui, sans-serif";
      for (const value of [0.2, 0.6, 1]) context.fillText(value, x(value), height - 6);
      context.strokeStyle = colour("muted");
      context.lineWidth = 1;
      context.strokeRect(part * half + 6, 24, half - 12, height - 46);
      const bar = (value, dash) => {
        context.setLineDash(dash);
        context.beginPath();
        context.moveTo(x(value), 24);
        context.lineTo(x(value), height - 22);
        context.stroke();
        context.setLineDash([]);
      };
      bar(0.5, [2, 4]);
      if (!some.length) return;
      context.strokeStyle = colour("class2");
      context.lineWidth = 2;
      bar(mean(some.map((one) => one[way].auc[system()][3])), [6, 3]);
      some.forEach((one, i) => {
        const [value, from, to, outside] = one[way].auc[system()], y = 34 + step * i;
        context.strokeStyle = context.fillStyle = colour(name);
        context.lineWidth = i === some.length - 1 ? 2.5 : 1;
        context.beginPath();
        context.moveTo(x(from), y);
        context.lineTo(x(to), y);
        context.stroke();
        context.beginPath();
        context.arc(x(value), y, 3, 0, 7);
        context.fill();
        context.fillStyle = colour("class2");
        context.fillRect(x(outside) - 1, y - 3, 2, 6);
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
