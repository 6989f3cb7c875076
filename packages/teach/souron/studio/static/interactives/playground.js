// A recording of a small network's learning: surface, hidden units, loss.
import { bytes, clear, fill, mark, paint } from "./common.js";
import { series } from "./plot.js";

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, canvas, colour, field, on, player, plot, show, words }) => {
  let found = null;
  const surface = canvas("surface"), units = canvas("units");

  const draw = (place) => {
    if (!found) return;
    const now = found.frames[place];
    paint(surface, bytes(now.surface), found.surface, found.surface, { signed: true, pale: 0.55 });
    const context = surface.getContext("2d");
    const scale = surface.width / (2 * found.reach);
    found.points.forEach(([x, y], i) => mark(context, (x + found.reach) * scale, (found.reach - y) * scale, 1 - found.sort[i], 3));
    drawUnits(now);
    series(plot("loss"), [found.losses], { step: words.step_axis, at: now.step });
    const share = (value) => Math.round(100 * value);
    show("now", fill(words.now, { step: now.step, loss: now.loss.toFixed(3), train: share(now.train), test: share(now.test) }));
  };

  const drawUnits = (now) => {
    const context = units.getContext("2d");
    clear(units);
    const all = bytes(now.units), cells = found.unit ** 2;
    const columns = Math.min(found.width, found.depth === 1 ? 4 : 8), rows = Math.ceil(found.width / columns);
    const side = Math.min(units.width / columns, units.height / (rows * found.depth));
    now.leads.forEach((leads, layer) => leads.forEach((lead, unit) => {
      const number = layer * found.width + unit;
      const row = layer * rows + Math.floor(unit / columns);
      const box = { x: (unit % columns) * side + 4, y: row * side + 4, width: side - 8, height: side - 8 };
      paint(units, all.subarray(number * cells, (number + 1) * cells), found.unit, found.unit, { box });
      context.lineWidth = Math.min(5, 1 + 2 * Math.abs(lead));
      context.strokeStyle = colour(lead < 0 ? "negative" : "positive");
      context.strokeRect(box.x, box.y, box.width, box.height);
    }));
  };

  const recording = player(draw);
  const learn = async () => {
    const number = (name) => Number(field(name).value);
    const answered = await ask({
      points: field("points").value, width: number("width"), depth: number("depth"),
      noise: number("noise") / 100, start: number("start") - 1,
    });
    if (!answered) return;
    found = answered;
    show("starts", fill(words.starts, found));
    recording.load(found.frames.length);
  };
  on("learn", learn);
  for (const name of ["points", "width", "depth", "noise", "start"]) field(name).addEventListener("change", learn);
  await learn();
};
