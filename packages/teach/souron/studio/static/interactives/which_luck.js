// Drag seeds, cases and the true difference; see how often one is called better.
import { fill } from "./common.js";
import { bars, dots, line, percent, plot as axes, rule } from "./plot.js";

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, field, on, plot, repaint, show, words }) => {
  const ways = ["mean", "bootstrap", "souron"];
  const drawBars = () => {
    const rows = ways.map((way) => {
      const { called, wrong } = found.ways[way];
      return { name: words[way], text: `${(100 * called).toFixed(1)} %`, bars: [[1, "rule"], [called, "positive"], [wrong, "negative"]] };
    });
    bars(plot("bars"), rows, { domain: [0, 1], values: [0.05, 0.25, 0.5, 0.75, 1], format: percent, mark: 0.05, dash: "3 3" });
  };
  const drawIntervals = () => {
    const most = Math.max(1, ...found.first.flat().map(Math.abs)), count = found.first.length;
    const made = axes(plot("intervals"), { x: { domain: [0, count + 1], label: words.comparison }, y: { domain: [-most, most], label: words.apart } });
    rule(made, { y: 0 }, "ink", { dash: "" });
    found.first.forEach(([middle, low, high], i) => {
      const colour = high < 0 || (low > 0 && found.equal) ? "negative" : low > 0 ? "positive" : "muted";
      line(made, [[i + 1, low], [i + 1, high]], colour, { width: 3 });
      dots(made, [[i + 1, middle]], colour);
    });
  };
  let found = null;
  const draw = () => {
    if (!found) return;
    drawBars();
    drawIntervals();
  };
  const go = async () => {
    const asked = Object.fromEntries(["seeds", "cases", "difference", "luck"].map((name) => [name, Number(field(name).value)]));
    const answered = await ask(asked);
    if (!answered) return;
    found = answered;
    draw();
    const share = (value) => (100 * value).toFixed(1);
    for (const way of ways) {
      const { called, wrong, low, high } = found.ways[way];
      show(way, fill(words.said, { way: words[way], called: share(called), wrong: share(wrong), low: share(low), high: share(high), repeats: found.repeats }));
    }
    const [middle, low, high] = found.first[0];
    const verdict = low > 0 ? words.better : high < 0 ? words.worse : words["cannot tell"];
    show("one", fill(words.one, { difference: middle, low, high, verdict }));
  };
  on("go", go);
  for (const name of ["seeds", "cases", "difference", "luck"]) field(name).addEventListener("change", go);
  repaint(draw);
  await go();
};
