// Drag seeds, cases and the true difference; see how often one is called better.
import { clear, fill } from "./common.js";

export const start = async (root, { ask, canvas, colour, field, on, repaint, show, words }) => {
  const ways = ["mean", "bootstrap", "souron"];
  const bars = (found) => {
    const plane = canvas("bars"), context = plane.getContext("2d");
    clear(plane);
    context.font = "13px system-ui, sans-serif";
    ways.forEach((way, row) => {
      const { called, wrong } = found.ways[way], y = 12 + 58 * row, wide = plane.width - 70;
      context.fillStyle = colour("ink");
      context.fillText(words[way], 4, y + 10);
      context.fillStyle = colour("rule");
      context.fillRect(4, y + 16, wide, 20);
      context.fillStyle = colour("positive");
      context.fillRect(4, y + 16, wide * called, 20);
      context.fillStyle = colour("negative");
      context.fillRect(4, y + 16, wide * wrong, 20);
      context.fillStyle = colour("ink");
      context.fillText(`${(100 * called).toFixed(1)} %`, wide + 10, y + 31);
    });
    const promised = 4 + 0.05 * (plane.width - 70);
    context.strokeStyle = colour("ink");
    context.setLineDash([3, 3]);
    context.beginPath();
    context.moveTo(promised, 22);
    context.lineTo(promised, plane.height - 16);
    context.stroke();
    context.setLineDash([]);
    context.fillText("5 %", promised - 8, plane.height - 3);
  };
  const intervals = (found) => {
    const plane = canvas("intervals"), context = plane.getContext("2d"), { width, height } = plane;
    clear(plane);
    const most = Math.max(1, ...found.first.flat().map(Math.abs));
    const y = (value) => height / 2 - value / most * (height / 2 - 8);
    context.strokeStyle = colour("ink");
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(0, y(0));
    context.lineTo(width, y(0));
    context.stroke();
    found.first.forEach(([middle, low, high], i) => {
      const x = (i + 0.5) * width / found.first.length;
      const wrong = high < 0 || (low > 0 && found.equal);
      context.strokeStyle = context.fillStyle = colour(wrong ? "negative" : low > 0 ? "positive" : "muted");
      context.lineWidth = 3;
      context.beginPath();
      context.moveTo(x, y(low));
      context.lineTo(x, y(high));
      context.stroke();
      context.beginPath();
      context.arc(x, y(middle), 4, 0, 7);
      context.fill();
    });
    context.fillStyle = colour("muted");
    context.font = "11px system-ui, sans-serif";
    context.fillText(`+${most.toFixed(1)}`, 2, 12);
    context.fillText(`−${most.toFixed(1)}`, 2, height - 4);
  };
  let found = null;
  const draw = () => {
    if (!found) return;
    bars(found);
    intervals(found);
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
