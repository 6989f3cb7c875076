// Threshold, prevalence and cost: what follows from the numbers of true and false positives that Python counted.
// The formulas are those of metrics/classification.py (at_threshold) and metrics/net_benefit.py (frequencies).
import { clear, fill } from "./common.js";
import { dots, line, note, plot as axes, rule } from "./plot.js";

const PEOPLE = 1000, COLUMNS = 40, CELL = 10;

// [true positives, false positives] among so many ill and healthy cases -> rates at a prevalence, and 1,000 patients
export const rates = ([hits, falls], { ill, healthy }, prevalence) => {
  const sensitivity = hits / ill, specificity = (healthy - falls) / healthy;
  const right = prevalence * sensitivity, wrong = (1 - prevalence) * (1 - specificity);
  const spared = (1 - prevalence) * specificity, missed = prevalence * (1 - sensitivity);
  return { sensitivity, specificity, positive: right / (right + wrong), negative: spared / (spared + missed) };
};
export const frequencies = ({ sensitivity, specificity }, prevalence) => {
  const ill = Math.floor(PEOPLE * prevalence + 0.5), found = Math.floor(ill * sensitivity + 0.5);
  const alarms = Math.floor((PEOPLE - ill) * (1 - specificity) + 0.5);
  return { ill, called: found + alarms, found, missed: ill - found, alarms, spared: PEOPLE - ill - alarms };
};
// of 1,000 patients, in false alarms; a missed case is worth ``each`` of them
export const cost = ({ sensitivity, specificity }, prevalence, each) =>
  PEOPLE * (each * prevalence * (1 - sensitivity) + (1 - prevalence) * (1 - specificity));

// along the ROC curve, whose straight lines are bent at other precisions
const between = (points) => points.slice(1).flatMap(([falls, hits], i) => [1, 2, 3, 4, 5, 6, 7, 8].map((part) => (
  [points[i][0] + (falls - points[i][0]) * part / 8, points[i][1] + (hits - points[i][1]) * part / 8]
)));

const percent = (share) => (Number.isNaN(share) ? "–" : `${(100 * share).toFixed(1)} %`);
const short = (share) => `${Number((100 * share).toPrecision(3))} %`;

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, canvas, colour, field, keep, kept, on, plot, repaint, show, words }) => {
  const [source, threshold, prevalence, each] = ["source", "threshold", "prevalence", "cost"].map(field);
  let held = null;

  const listed = await ask({ list: true });
  if (!listed) return;
  const wanted = kept.source;
  source.replaceChildren(...listed.sources.map(([key, text]) => new Option(text, key)));
  if (listed.sources.some(([key]) => key === wanted)) source.value = wanted;
  if (!listed.sources.length) return;

  const unit = (label) => ({ domain: [0, 1], label }), here = { size: 6, ring: true };

  const drawCurves = (now, share) => {
    const roc = axes(plot("roc"), { x: unit(words.false), y: unit(words.sensitivity) });
    line(roc, [[0, 0], [1, 1]], "muted", { dash: "5 4", width: 1 });
    line(roc, held.roc.map(([falls, hits]) => [falls / held.healthy, hits / held.ill]), "accent");
    dots(roc, [[1 - now.specificity, now.sensitivity]], "class1", here);
    const precision = axes(plot("precision"), { x: unit(words.sensitivity), y: unit(words.precision) });
    rule(precision, { y: share }, "muted");
    const points = between(held.roc).map(([falls, hits]) => rates([hits, falls], held, share));
    line(precision, points.map((at) => [at.sensitivity, at.positive]), "accent");
    dots(precision, [[now.sensitivity, now.positive]], "class1", here);
  };
  const drawCosts = (costs, at, least, nobody, everybody) => {
    const nearer = Math.min(nobody, everybody);
    const high = 1.15 * Math.max(Math.min(Math.max(...costs), 2 * nearer), nearer, costs[at], 1);
    const made = axes(plot("costs"), { x: { domain: [0, 100], label: words.threshold }, y: { domain: [0, high], label: words.costs }, clip: true });
    for (const [level, name] of [[nobody, "nobody"], [everybody, "everybody"]]) {
      rule(made, { y: level }, "muted");
      if (level <= high) note(made, [99, level], words[name], { colour: "muted", anchor: "end", down: level === nearer ? 14 : -4 });
    }
    line(made, costs.map((value, i) => [i + 1, value]), "accent");
    dots(made, [[least + 1, costs[least]]], "accent", { size: 5, square: true });
    dots(made, [[at + 1, costs[at]]], "class1", here);
  };

  /** @type {Record<string, [string, (context: CanvasRenderingContext2D, x: number, y: number) => void]>} */
  const SIGNS = {  // distinguished by shape as well
    found: ["class1", (context, x, y) => { context.arc(x, y, 4, 0, 7); context.fill(); }],
    missed: ["class1", (context, x, y) => {
      for (const way of [1, -1]) { context.moveTo(x - 3.5, y - 3.5 * way); context.lineTo(x + 3.5, y + 3.5 * way); }
      context.stroke();
    }],
    alarms: ["class0", (context, x, y) => context.fillRect(x - 3, y - 3, 6, 6)],
    spared: ["muted", (context, x, y) => context.fillRect(x - 1, y - 1, 2, 2)],
  };
  const drawDots = (counts) => {
    const plane = canvas("dots"), context = plane.getContext("2d");
    clear(plane);
    context.lineWidth = 2;
    let place = 0;
    for (const [name, [paint, sign]] of Object.entries(SIGNS)) {
      context.fillStyle = context.strokeStyle = colour(paint);
      for (const end = place + counts[name]; place < end; place += 1) {
        context.beginPath();
        sign(context, (place % COLUMNS + 0.5) * CELL, (Math.floor(place / COLUMNS) + 0.5) * CELL);
      }
    }
    plane.setAttribute("aria-label", fill(words.image, counts));
  };

  const drawAll = () => {
    if (!held) return;
    const at = Number(threshold.value) - 1, share = held.prevalences[Number(prevalence.value)], worth = Number(each.value);
    const all = held.rates.map((row) => rates(row, held, share)), now = all[at], counts = frequencies(now, share);
    const costs = all.map((row) => cost(row, share, worth)), least = costs.indexOf(Math.min(...costs));
    const nobody = cost({ sensitivity: 0, specificity: 1 }, share, worth);
    const everybody = cost({ sensitivity: 1, specificity: 0 }, share, worth);
    for (const [slider, text] of [[threshold, short((at + 1) / 100)], [prevalence, short(share)]]) {
      slider.setAttribute("aria-valuetext", text);
      slider.parentElement.querySelector("output").textContent = text;
    }
    show("result", fill(words.result, counts));
    for (const name of ["found", "missed", "alarms", "spared"]) show(name, counts[name]);
    for (const [name, value] of Object.entries(now)) show(name, percent(value));
    const [, , low, high, lower, higher] = held.rates[at], ends = (from, to) => `${(100 * from).toFixed(1)}–${percent(to)}`;
    show("sensitivity_interval", ends(low, high));
    show("specificity_interval", ends(lower, higher));
    const whole = (value) => Math.round(value).toString();
    show("cost_now", fill(words.cost, { cost: whole(costs[at]), least: whole(costs[least]), best: least + 1, nobody: whole(nobody), everybody: whole(everybody) }));
    show("known", fill(words.known, { threshold: (100 / (1 + worth)).toFixed(1) }));
    drawDots(counts);
    drawCurves(now, share);
    drawCosts(costs, at, least, nobody, everybody);
    return least;
  };

  const read = async (first = false) => {
    const share = held?.prevalences[Number(prevalence.value)];
    const answered = await ask({ source: source.value });
    if (!answered) return;
    held = answered;
    prevalence.max = held.prevalences.length - 1;
    if (!first && held.prevalences.includes(share)) prevalence.value = held.prevalences.indexOf(share);
    const [auc, low, high] = held.auc.map((value) => value.toFixed(3));
    show("cases", fill(words.cases, { cases: held.ill + held.healthy, ill: held.ill, positive: held.positive, auc, low, high }));
    drawAll();
  };
  const set = (slider, value) => {  // as if moved by hand, so that the link follows
    slider.value = value;
    for (const kind of ["input", "change"]) slider.dispatchEvent(new Event(kind, { bubbles: true }));
  };
  for (const slider of [threshold, prevalence, each]) slider.addEventListener("input", drawAll);
  source.addEventListener("change", () => { keep({ source: source.value }); read(); });
  on("own", () => held && set(prevalence, held.prevalences.findIndex((share) => Math.abs(share - held.ill / (held.ill + held.healthy)) < 1e-6)));
  on("least", () => held && set(threshold, drawAll() + 1));
  repaint(drawAll);
  await read(true);
};
