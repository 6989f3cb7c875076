// A network of a few weights, forwards and backwards; three optimizers; gradients of a deep network.
import { fill } from "./common.js";
import { line, plot as axes, series } from "./plot.js";

const OPTIMIZERS = ["sgd", "momentum", "adam"], WAYS = ["plain", "skip", "norm", "both"];
const SUB = "₀₁₂₃";

// values of the network; weights: W1 row by row, b1, W2, b2
/** @type {(weights: number[], hidden: number, x: number[], target: number) => any} */
export const forward = (weights, hidden, [x1, x2], target) => {
  const z = [], h = [];
  for (let unit = 0; unit < hidden; unit++) {
    z.push(weights[2 * unit] * x1 + weights[2 * unit + 1] * x2 + weights[2 * hidden + unit]);
    h.push(Math.max(z[unit], 0));
  }
  const y = h.reduce((sum, value, unit) => sum + weights[3 * hidden + unit] * value, weights[4 * hidden]);
  return { z, h, y, loss: (y - target) ** 2 / 2 };
};

// gradients of the loss: of all weights, in their order, and of the values
export const backward = (weights, hidden, x, target) => {
  const { z, h, y } = forward(weights, hidden, x, target), dy = y - target, all = Array(4 * hidden + 1).fill(0), dh = [], dz = [];
  for (let unit = 0; unit < hidden; unit++) {
    dh.push(dy * weights[3 * hidden + unit]);
    dz.push(z[unit] > 0 ? dh[unit] : 0);
    all[3 * hidden + unit] = dy * h[unit];
    all[2 * hidden + unit] = dz[unit];
    all[2 * unit] = dz[unit] * x[0];
    all[2 * unit + 1] = dz[unit] * x[1];
  }
  all[4 * hidden] = dy;
  return { all, dy, dh, dz };
};

// how much an optimizer changes each weight; ``state`` is what it remembers
export const change = (name, state, gradient, rate) => {
  if (name === "sgd") return gradient.map((slope) => -rate * slope);
  if (name === "momentum") {
    state.speed = gradient.map((slope, i) => 0.9 * (state.speed?.[i] ?? 0) + slope);
    return state.speed.map((speed) => -rate * speed);
  }
  state.count = (state.count ?? 0) + 1;
  state.mean = gradient.map((slope, i) => 0.9 * (state.mean?.[i] ?? 0) + 0.1 * slope);
  state.square = gradient.map((slope, i) => 0.999 * (state.square?.[i] ?? 0) + 0.001 * slope ** 2);
  return state.mean.map((mean, i) => -rate * (mean / (1 - 0.9 ** state.count)) / (Math.sqrt(state.square[i] / (1 - 0.999 ** state.count)) + 1e-8));
};

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, tools) => {
  const { ask, canvas, colour, field, on, part, player, plot, show, words } = tools;
  const number = (name) => Number(field(name).value);
  const short = (value, digits = 2) => (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits).replace("-", "−");
  let hidden = 3, first = [], runs = {}, norms = null, seed = tools.kept.seed ?? 0;
  const x = () => [number("x1"), number("x2")];
  const names = () => {
    const units = [...Array(hidden).keys()];
    return [...units.flatMap((unit) => [1, 2].map((input) => `w${SUB[unit + 1]}${SUB[input]}`)), ...units.map((unit) => `b${SUB[unit + 1]}`), ...units.map((unit) => `v${SUB[unit + 1]}`), "c"];
  };

  // the steps of the chain rule: what is lit, and the formula
  const steps = () => {
    const { weights } = runs[field("shown").value], now = forward(weights, hidden, x(), number("target")), back = backward(weights, hidden, x(), number("target"));
    const name = names(), d = (what) => `∂L/∂${what}`, list = [{ text: words.forward, formula: `y = ${short(now.y)}` }];
    list.push({ text: words.loss, formula: `L = ½ (y − t)² = ½ (${short(now.y)} − ${short(number("target"))})² = ${short(now.loss)}`, lit: ["L"] });
    list.push({ text: words.output, formula: `${d("y")} = y − t = ${short(now.y)} − ${short(number("target"))} = ${short(back.dy)}`, node: "y", lit: ["y"] });
    for (let unit = 0; unit < hidden; unit++) {
      const place = 3 * hidden + unit;
      list.push({ text: words.weight, weight: place, formula: `${d(name[place])} = ${d("y")} · h${SUB[unit + 1]} = ${short(back.dy)} · ${short(now.h[unit])} = ${short(back.all[place])}` });
    }
    list.push({ text: words.bias, weight: 4 * hidden, formula: `${d("c")} = ${d("y")} = ${short(back.dy)}` });
    for (let unit = 0; unit < hidden; unit++) {
      const own = SUB[unit + 1], v = weights[3 * hidden + unit];
      list.push({ text: words.hidden, node: `h${unit}`, formula: `${d(`h${own}`)} = ${d("y")} · v${own} = ${short(back.dy)} · ${short(v)} = ${short(back.dh[unit])}` });
      list.push({ text: words.relu, node: `z${unit}`, formula: `${d(`z${own}`)} = ${d(`h${own}`)} · ${now.z[unit] > 0 ? 1 : 0} = ${short(back.dz[unit])}   (z${own} = ${short(now.z[unit])})` });
      [0, 1].forEach((input) => list.push({ text: words.weight, weight: 2 * unit + input,
        formula: `${d(name[2 * unit + input])} = ${d(`z${own}`)} · x${SUB[input + 1]} = ${short(back.dz[unit])} · ${short(x()[input])} = ${short(back.all[2 * unit + input])}` }));
      list.push({ text: words.bias, weight: 2 * hidden + unit, formula: `${d(`b${own}`)} = ${d(`z${own}`)} = ${short(back.dz[unit])}` });
    }
    return { list, now, back, weights };
  };

  const draw = (place) => {
    if (!first.length) return;
    const { list, now, back, weights } = steps(), step = Math.min(place, list.length - 1), shown = list.slice(0, step + 1), current = list[step];
    const plane = canvas("graph"), context = plane.getContext("2d"), { width, height } = plane;
    context.fillStyle = colour("paper");
    context.fillRect(0, 0, width, height);
    const spot = { x: [0, 1].map((i) => [42, height * (i + 1) / 3]), h: now.h.map((_, i) => [210, height * (i + 0.5) / hidden]), y: [350, height / 2], L: [442, height / 2] };
    /** @type {(text: string, at: number[], ink?: string, bold?: boolean, align?: CanvasTextAlign) => void} */
    const label = (text, [px, py], ink = "ink", bold = false, align = "center") => {
      context.font = `${bold ? "bold " : ""}13px system-ui, sans-serif`;
      context.textAlign = align;
      const wide = context.measureText(text).width, from = align === "center" ? px - wide / 2 : px;
      context.fillStyle = colour("paper");
      context.globalAlpha = 0.85;
      context.fillRect(from - 2, py - 11, wide + 4, 15);
      context.globalAlpha = 1;
      context.fillStyle = colour(ink);
      context.fillText(text, px, py);
    };
    const edge = (from, to, place, at) => {
      const known = shown.some((one) => one.weight === place), now_ = current.weight === place, slope = back.all[place];
      const ink = now_ ? "negative" : "muted", [dx, dy] = [to[0] - from[0], to[1] - from[1]], length = Math.hypot(dx, dy), pull = 26 / length;
      const begin = [from[0] + dx * pull, from[1] + dy * pull], end = [to[0] - dx * pull, to[1] - dy * pull];
      context.strokeStyle = colour(ink);
      context.lineWidth = now_ ? 4 : known ? 2.5 : 1;
      context.beginPath();
      context.moveTo(begin[0], begin[1]);
      context.lineTo(end[0], end[1]);
      context.stroke();
      if (known) {  // the gradient flows against the edge
        const angle = Math.atan2(dy, dx);
        context.beginPath();
        for (const turn of [0.4, -0.4]) {
          context.moveTo(begin[0], begin[1]);
          context.lineTo(begin[0] + 12 * Math.cos(angle + turn), begin[1] + 12 * Math.sin(angle + turn));
        }
        context.stroke();
      }
      const where = [from[0] + dx * at, from[1] + dy * at];
      label(short(weights[place]), [where[0], where[1] - 3]);
      if (known) label(short(slope), [where[0], where[1] + 13], "negative", now_);
    };
    for (let unit = 0; unit < hidden; unit++) {
      [0, 1].forEach((input) => edge(spot.x[input], spot.h[unit], 2 * unit + input, input ? 0.62 : 0.38));
      edge(spot.h[unit], spot.y, 3 * hidden + unit, 0.45);
    }
    context.strokeStyle = colour("muted");
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(spot.y[0] + 26, spot.y[1]);
    context.lineTo(spot.L[0] - 26, spot.L[1]);
    context.stroke();
    const node = (at, title, value, slope, lit, extra = []) => {
      context.beginPath();
      context.arc(at[0], at[1], 25, 0, 2 * Math.PI);
      context.fillStyle = colour("paper");
      context.fill();
      context.strokeStyle = colour(lit ? "negative" : "ink");
      context.lineWidth = lit ? 4 : 1.5;
      context.stroke();
      label(title, [at[0], at[1] - 5]);
      label(short(value), [at[0], at[1] + 11], "ink", true);
      if (slope !== null) label(short(slope), [at[0], at[1] + 40], "negative", lit);
      extra.forEach((text, line) => label(text, [at[0], at[1] - 30 - 14 * line], "muted"));
    };
    const seen = (name) => shown.some((one) => one.node === name);
    spot.x.forEach((at, input) => node(at, `x${SUB[input + 1]}`, x()[input], null, false));
    spot.h.forEach((at, unit) => {
      const slope = seen(`z${unit}`) ? back.dz[unit] : seen(`h${unit}`) ? back.dh[unit] : null;
      node(at, `h${SUB[unit + 1]}`, now.h[unit], slope, current.node === `h${unit}` || current.node === `z${unit}` || current.weight === 2 * hidden + unit,
        [`b ${short(weights[2 * hidden + unit])}`]);
    });
    node(spot.y, "y", now.y, seen("y") ? back.dy : null, current.node === "y" || current.weight === 4 * hidden, [`c ${short(weights[4 * hidden])}`]);
    node(spot.L, "L", now.loss, null, (current.lit ?? []).includes("L"), [`t ${short(number("target"))}`]);
    show("formula", `${step + 1}/${list.length}. ${current.text}: ${current.formula}`);
  };
  const recording = player(draw);
  tools.pace = 900;

  const curves = () => {
    series(plot("losses"), OPTIMIZERS.map((name) => runs[name].losses), { step: words.step_axis });
    const table = document.createElement("table");
    const row = (cells, kind) => {
      const line = table.insertRow();
      cells.forEach((cell) => line.append(Object.assign(document.createElement(kind), { textContent: cell })));
    };
    row([words.table, ...OPTIMIZERS.flatMap((name) => [fill(words.gradient, { name: words[name] }), fill(words.change, { name: words[name] })])], "th");
    const now = OPTIMIZERS.map((name) => runs[name].last ?? { gradient: backward(runs[name].weights, hidden, x(), number("target")).all, moved: null });
    names().forEach((name, place) => row([name, ...now.flatMap(({ gradient, moved }) => [short(gradient[place], 3), moved ? short(moved[place], 3) : "–"])], "td"));
    part("changes").replaceChildren(table);
    OPTIMIZERS.forEach((name) => show(name, fill(words.step, { name: words[name], steps: runs[name].losses.length - 1, loss: runs[name].losses.at(-1).toFixed(4) })));
  };
  const loss = (weights) => forward(weights, hidden, x(), number("target")).loss;
  const again = () => {
    runs = Object.fromEntries(OPTIMIZERS.map((name) => [name, { weights: [...first], state: {}, losses: [loss(first)], last: null }]));
    curves();
    draw(number("frame"));
  };
  const move = (times) => {
    for (let time = 0; time < times; time++) {
      for (const name of OPTIMIZERS) {
        const run = runs[name], gradient = backward(run.weights, hidden, x(), number("target")).all, moved = change(name, run.state, gradient, number("rate"));
        run.weights = run.weights.map((weight, i) => weight + moved[i]);
        run.last = { gradient, moved };
        run.losses.push(loss(run.weights));
      }
    }
    curves();
    draw(number("frame"));
  };

  const load = async () => {
    const answered = await ask({ part: "network", hidden: number("hidden"), seed });
    if (!answered) return;
    hidden = answered.hidden;
    first = answered.weights;
    tools.keep({ seed });
    again();
    recording.load(steps().list.length, false);
  };

  const drawNorms = () => {
    if (!norms) return;
    const ends = Object.values(norms).flat(), power = (value, round) => 10 ** round(Math.log10(value)), dashes = ["", "7 4", "2 3", "10 3 2 3"];
    const made = axes(plot("norms"), {
      x: { domain: [1, norms.plain.length], label: words.block, ticks: Math.min(norms.plain.length - 1, 6) },
      y: { domain: [power(Math.min(...ends), Math.floor), power(Math.max(...ends), Math.ceil)], log: true, label: words.norms },
      names: WAYS.map((way, row) => [words[way], `class${row}`, dashes[row]]),
    });
    WAYS.forEach((way, row) => {
      line(made, norms[way].map((value, place) => [place + 1, value]), `class${row}`, { dash: dashes[row], width: 2.5 });
      const first = norms[way][0], last = norms[way].at(-1), ratio = first / last;
      show(way, fill(words.ratio, { name: words[way], ratio: ratio > 1e-3 ? ratio.toFixed(3) : ratio.toExponential(0), first: first.toExponential(1), last: last.toExponential(1) }));
    });
  };
  const deep = async () => {
    const answered = await ask({ part: "depth", depth: number("depth") });
    if (!answered) return;
    norms = answered.norms;
    drawNorms();
  };

  for (const name of ["x1", "x2", "target"]) field(name).addEventListener("input", again);
  field("hidden").addEventListener("change", load);
  field("shown").addEventListener("change", () => draw(number("frame")));
  field("depth").addEventListener("change", deep);
  on("weights", () => { seed = (seed + 1) % 20; return load(); });
  on("once", () => move(1));
  on("ten", () => move(10));
  on("again", again);
  tools.repaint(() => { if (first.length) curves(); });
  tools.repaint(drawNorms);
  await load();
  await deep();
};
