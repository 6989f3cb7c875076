// Plots as SVG: D3 makes scales, ticks and paths; the colours are the studio's, light or dark.
import { tint } from "./common.js";
import { d3 } from "../d3.js";

/** @import { Axis, Legend, Plot, Point } from "../../types.d.ts" */

// 0.001 -> "10⁻³"
const raised = (value) => `10${[...String(Math.round(Math.log10(value)))].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("")}`;
// whole powers of ten, eight at most
/** @type {(domain: number[]) => number[]} */
const powers = ([low, high]) => {
  const [first, last] = [Math.ceil(Math.log10(low) - 1e-9), Math.floor(Math.log10(high) + 1e-9)], every = Math.ceil((last - first + 1) / 8);
  return Array.from({ length: Math.floor((last - first) / every) + 1 }, (_, i) => 10 ** (first + every * i));
};
export const percent = (share) => `${Math.round(100 * share)} %`;

// names beside their lines, in as many rows as they need; returns the height
const legend = (part, names, width) => {
  let from = 8, top = 14;
  for (const [name, colour, dash] of names) {
    const one = part.append("g"), text = one.append("text").attr("x", 28).text(name), wide = 42 + text.node().getComputedTextLength();
    if (from > 8 && from + wide > width) [from, top] = [8, top + 18];
    one.attr("transform", `translate(${from}, ${top})`);
    one.append("path").attr("d", "M0,-4h22").style("stroke", tint(colour)).style("stroke-width", 2.5).style("stroke-dasharray", dash);
    from += wide;
  }
  return names.length ? top + 6 : 0;
};

// x and y are {domain: [low, high], label, log, format, ticks: how many at most, values: the ticks themselves};
// ``names`` [[text, colour, dash]] a legend; ``span`` the part of the width that this plot takes, where several share
// an SVG; with ``clip`` nothing is drawn outside of the axes. Returns both scales and what lines are appended to
/** @type {(svg: SVGSVGElement, about: { x: Axis, y: Axis, names?: Legend, span?: Point, clip?: boolean, left?: number, right?: number }) => Plot} */
export const plot = (svg, { x, y, names = [], span: [from, to] = [0, 1], clip = false, left = 50, right = 16 }) => {
  const [most, height] = ["width", "height"].map((side) => Number(svg.getAttribute(side)));
  const seen = svg.getBoundingClientRect().width - 2, whole = seen > 100 ? Math.min(most, seen) : most, width = whole * (to - from);
  const root = d3.select(svg).attr("viewBox", `0 0 ${whole} ${height}`);
  svg.style.aspectRatio = `${whole} / ${height}`; // the text is as large on a narrow screen
  if (from === 0) root.selectChildren().remove();
  const part = root.append("g").attr("transform", `translate(${whole * from}, 0)`);
  const top = legend(part, names, width) + (y.label ? 26 : 10), inner = [width - left - right, height - top - (x.label ? 42 : 24)];
  /** @type {(axis: Axis, range: number[]) => any} */
  const scale = ({ domain, log }, range) => (log ? d3.scaleLog() : d3.scaleLinear()).domain(domain).range(range);
  const made = { x: scale(x, [0, inner[0]]), y: scale(y, [inner[1], 0]) };
  /** @type {(side: "x" | "y", kind: Function, axis: Axis, size: number[]) => void} */
  const axis = (side, kind, { domain, log, format, ticks, values }, [along, across]) => {
    const drawn = kind(made[side]).tickSize(-across).tickPadding(8).offset(0).ticks(ticks ?? Math.max(2, Math.floor(along / (side === "x" ? 60 : 36))));
    if (values ?? log) drawn.tickValues(values ?? powers(domain));
    if (format ?? log) drawn.tickFormat(format ?? raised);
    part.append("g").attr("class", `axis ${side}`).attr("transform", `translate(${left}, ${top + (side === "x" ? inner[1] : 0)})`).call(drawn);
  };
  axis("x", d3.axisBottom, x, inner);
  axis("y", d3.axisLeft, y, [...inner].reverse());
  const title = (text, across, down, anchor) => part.append("text").attr("class", "title").attr("x", across).attr("y", down).style("text-anchor", anchor).text(text);
  if (x.label) title(x.label, left + inner[0] / 2, height - 8, "middle");
  if (y.label) title(y.label, 6, top - 11, "start");
  const short = (value) => Number(value.toPrecision(3)), about = [x, y].map(({ label = "", domain }) => `${label} ${domain.map(short).join(" – ")}`.trim());
  root.append("desc").text(about.join("; "));
  const body = part.append("svg").attr("x", left).attr("y", top).attr("width", inner[0]).attr("height", inner[1]).attr("overflow", clip ? "hidden" : "visible");
  return { ...made, body, inner };
};

const finite = ([x, y]) => Number.isFinite(x) && Number.isFinite(y);

// through points [x, y]; one that is no number leaves a gap
export const line = ({ body, x, y }, points, colour, { dash = "", width = 2 } = {}) => body.append("path").attr("class", "line")
  .attr("d", d3.line().defined(finite).x(([value]) => x(value)).y(([, value]) => y(value))(points))
  .style("stroke", tint(colour)).style("stroke-width", width).style("stroke-dasharray", dash);

// straight through the whole plot, at an x or at a y
/** @type {(made: Plot, at: { x?: number, y?: number }, colour: string, look?: { dash?: string, width?: number }) => any} */
export const rule = (made, { x, y }, colour, look) => {
  const [across, up] = [made.x.domain(), made.y.domain()];
  return line(made, x === undefined ? across.map((value) => [value, y]) : up.map((value) => [x, value]), colour, { dash: "5 4", width: 1, ...look });
};

// between 0 and points [x, y], each of which stands for what lies before it
export const steps = ({ body, x, y }, points, colour) => body.append("path").attr("class", "area")
  .attr("d", d3.area().x(([value]) => x(value)).y0(y(0)).y1(([, value]) => y(value)).curve(d3.curveStepBefore)(points))
  .style("fill", tint(colour));

// points [x, y], as discs, squares or rings; their numbers are shown under a pointer
export const dots = ({ body, x, y }, points, colour, { size = 4, square = false, ring = false } = {}) => points.filter(finite).forEach(([across, up]) => {
  const dot = square
    ? body.append("rect").attr("x", x(across) - size).attr("y", y(up) - size).attr("width", 2 * size).attr("height", 2 * size)
    : body.append("circle").attr("cx", x(across)).attr("cy", y(up)).attr("r", size);
  dot.attr("class", "dot").style(ring ? "stroke" : "fill", tint(colour)).style(ring ? "fill" : "stroke", "none");
  dot.append("title").text([across, up].map((value) => Number(value.toPrecision(3))).join("; "));
});

// a text at a point
export const note = ({ body, x, y }, [place, up], text, { colour = "ink", anchor = "start", across = 0, down = 0 } = {}) => body.append("text")
  .attr("class", "note").attr("x", x(place) + across).attr("y", y(up) + down).style("text-anchor", anchor).style("fill", tint(colour)).text(text);

// rows of numbers, step by step; ``at`` marks a step
/** @type {(svg: SVGSVGElement, rows: number[][], about: { step: string, at?: number | null, names?: Legend, domain?: number[], format?: Axis["format"], label?: string }) => Plot} */
export const series = (svg, rows, { step, at = null, names, domain, format, label }) => {
  const all = rows.flat().filter(Number.isFinite), low = Math.min(0, ...all), high = Math.max(...all, low + 1e-9);
  const last = Math.max(1, rows[0].length - 1), x = { domain: [0, last], label: step, ticks: Math.min(last, 5) };
  const made = plot(svg, { x, y: { domain: domain ?? [low, high], format, label }, names });
  rows.forEach((row, number) => line(made, row.map((value, i) => [i, value]), `class${number}`, { dash: ["", "6 3", "2 3", "10 3 2 3"][number % 4] }));
  if (at !== null) rule(made, { x: at }, "ink", { dash: "" });
  return made;
};

// lying bars: of each row {name, text, bars: [[value, colour]]}, one over the other; a line at ``mark``
/** @type {(svg: SVGSVGElement, rows: any[], about: Axis & { mark: number, dash?: string }) => void} */
export const bars = (svg, rows, { mark, dash = "", ...x }) => {
  const made = plot(svg, { x, y: { domain: [rows.length, 0], ticks: 0 }, left: 14, right: 24 }), high = made.inner[1] / rows.length, [low, most] = x.domain;
  rows.forEach(({ bars: own }, row) => {
    for (const [value, colour] of own) {
      made.body.append("rect").attr("class", "bar").attr("x", made.x(Math.min(0, value))).attr("y", row * high + 17).attr("width", Math.abs(made.x(value) - made.x(0))).attr("height", high - 21).style("fill", tint(colour));
    }
  });
  rule(made, { x: mark }, "ink", { dash });
  rows.forEach(({ name, text }, row) => {
    const value = note(made, [most, row], text, { anchor: "end", across: -5, down: 13 });
    const title = note(made, [low, row], name, { across: 5, down: 13 }), room = made.inner[0] - 16 - value.node().getComputedTextLength();
    if (title.node().getComputedTextLength() > room) title.attr("textLength", room).attr("lengthAdjust", "spacingAndGlyphs");
  });
};
