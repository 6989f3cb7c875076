// Draw boxes, look at a detector's raw ones, and build up the average precision.
// Overlaps, suppression, matching and AP are those of blocks/boxes.py and metrics/detection.py.
import { bytes, context2d, fill } from "./common.js";
import { dots, line, plot as axes, steps } from "./plot.js";

const OVER = { mine: "#ffd400", true: "#ffffff", kept: "#00e5ff", gone: "#ff9d5c", grid: "#ffffff66" };  // over pictures

// of boxes [left, top, right, bottom]
export const iou = (one, other) => {
  const across = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const down = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  const shared = Math.max(across, 0) * Math.max(down, 0);
  const area = (box) => (box[2] - box[0]) * (box[3] - box[1]);
  const union = area(one) + area(other) - shared;
  return union > 0 ? shared / union : 0;
};
const edges = (row) => row.slice(1, 5);

// raw boxes [label, four edges, confidence, ...] by falling confidence -> the fate of each:
// {kept: true}, {low: true}, or {by: index of the box that suppresses it, iou}
export const suppress = (rows, least, limit) => {
  const kept = [];
  return rows.map((row, i) => {
    if (row[5] <= least) return { low: true };
    for (const j of kept) {
      const shared = rows[j][0] === row[0] ? iou(edges(rows[j]), edges(row)) : 0;
      if (shared > limit) return { by: j, iou: shared };
    }
    kept.push(i);
    return { kept: true };
  });
};

// detections of one label in one picture, by falling confidence, and its true boxes -> whether each is right, its IoU
export const match = (found, truth, overlap) => {
  const free = truth.map(() => true);
  return found.map((row) => {
    let best = -1, most = 0;
    truth.forEach((box, i) => {
      const shared = iou(edges(row), box);
      if (free[i] && shared >= most) { best = i; most = shared; }
    });
    const right = best >= 0 && most >= Math.min(overlap, 1 - 1e-10);
    if (right) free[best] = false;
    return { right, iou: most };
  });
};

// whether each detection, by falling confidence, is right -> the best precision from each on, and the AP
export const averagePrecision = (right, things) => {
  let hits = 0;
  const precision = right.map((is, i) => { hits += is ? 1 : 0; return hits / (i + 1); });
  const recall = [];
  hits = 0;
  for (const is of right) { hits += is ? 1 : 0; recall.push(hits / things); }
  const envelope = [...precision];
  for (let i = envelope.length - 2; i >= 0; i--) envelope[i] = Math.max(envelope[i], envelope[i + 1]);
  let sum = 0;
  for (let i = 0; i <= 100; i++) {
    const at = recall.findIndex((value) => value >= (i === 100 ? 1 : i * 0.01));
    sum += at < 0 ? 0 : envelope[at];
  }
  return { precision, recall, envelope, ap: things ? sum / 101 : NaN };
};

// all detections of a label over all pictures, by falling confidence
export const detections = (raw, truth, label, { least, limit, overlap }) => {
  const all = raw.flatMap((rows, picture) => {
    const fates = suppress(rows, least, limit);
    const found = rows.filter((row, i) => fates[i].kept && row[0] === label);
    const there = truth[picture].filter((box) => box[0] === label).map(edges);
    return match(found, there, overlap).map((one, i) => ({ ...one, picture, row: found[i], score: found[i][5] }));
  });
  return all.sort((a, b) => b.score - a.score);
};

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, canvas, field, keep, kept, on, player, plot, show, words }) => {
  const number = (name) => Number(field(name).value);
  const scene = canvas("scene"), rawPlane = canvas("raw");
  const shown = await ask({ images: true });
  if (!shown) return;
  const { side, labels, truth } = shown;
  const pixels = shown.images.map((packed) => {
    const values = bytes(packed), plane = new OffscreenCanvas(side, side), context = context2d(plane);
    const image = context.createImageData(side, side);
    for (let i = 0; i < side * side; i++) image.data.set([values[3 * i], values[3 * i + 1], values[3 * i + 2], 255], 4 * i);
    context.putImageData(image, 0, 0);
    return plane;
  });
  const counts = labels.map((_name, label) => truth.flat().filter((box) => box[0] === label).length);
  const there = labels.map((_name, label) => label).filter((label) => counts[label]);
  const wanted = kept.label ?? there.find((label) => counts[label] >= 5) ?? there[0];
  field("label").replaceChildren(...there.map((label) => new Option(labels[label], label)));
  field("label").value = wanted;

  let held = null, mine = kept.mine ?? {}, cursor = { x: side / 2, y: side / 2 }, corner = null, drag = null, cell = { row: 0, column: 0 };
  const picture = () => number("picture");

  const background = (plane, index) => {
    const context = plane.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.setLineDash([]);
    context.drawImage(pixels[index], 0, 0, plane.width, plane.height);
    return context;
  };
  // a box over a picture: a dark line below keeps it visible on every ground
  /** @type {(context: CanvasRenderingContext2D, box: number[], colour: string, look?: { width?: number, dash?: number[], text?: string }) => void} */
  const outline = (context, box, paint, { width = 2, dash = [], text = "" } = {}) => {
    const scale = context.canvas.width / side, [left, top, right, bottom] = box.map((edge) => edge * scale);
    for (const [stroke, more] of /** @type {[string, number][]} */ ([["#000", 2], [paint, 0]])) {
      context.strokeStyle = stroke;
      context.lineWidth = width + more;
      context.setLineDash(stroke === "#000" ? [] : dash);
      context.globalAlpha = stroke === "#000" && dash.length ? 0.35 : 1;
      context.strokeRect(left, top, right - left, bottom - top);
    }
    context.globalAlpha = 1;
    context.setLineDash([]);
    if (!text) return;
    context.font = "bold 12px system-ui, sans-serif";
    const wide = context.measureText(text).width + 6, x = Math.max(0, Math.min(left, context.canvas.width - wide)), y = Math.max(16, top);
    context.fillStyle = paint;
    context.fillRect(x, y - 16, wide, 16);
    context.fillStyle = "#000";
    context.fillText(text, x + 3, y - 4);
  };

  // 1. boxes by hand
  const best = (box) => truth[picture()].map((one) => [iou(box, edges(one)), one[0]]).sort((a, b) => b[0] - a[0])[0];
  const drawScene = () => {
    const context = background(scene, picture()), own = mine[picture()] ?? [];
    if (field("truth").checked) for (const [label, ...box] of truth[picture()]) outline(context, box, OVER.true, { text: labels[label] });
    own.forEach((box, i) => outline(context, box, OVER.mine, { text: `${i + 1}: ${best(box)[0].toFixed(2)}` }));
    const open = drag ?? (corner && { from: corner, to: cursor });
    if (open) outline(context, [Math.min(open.from.x, open.to.x), Math.min(open.from.y, open.to.y), Math.max(open.from.x, open.to.x), Math.max(open.from.y, open.to.y)], OVER.mine, { dash: [5, 4] });
    if (document.activeElement === scene) {
      const scale = scene.width / side, [x, y] = [cursor.x * scale, cursor.y * scale];
      for (const [stroke, line] of [["#000", 4], ["#fff", 2]]) {
        context.strokeStyle = stroke;
        context.lineWidth = line;
        context.beginPath();
        context.moveTo(x - 10, y); context.lineTo(x + 10, y); context.moveTo(x, y - 10); context.lineTo(x, y + 10);
        context.stroke();
      }
    }
    const lines = own.map((box, i) => {
      const [shared, label] = best(box);
      return fill(shared > 0 ? words.mine : words.none, { number: i + 1, iou: shared.toFixed(3), label: labels[label] });
    });
    const found = truth[picture()].filter((one) => own.some((box) => iou(box, edges(one)) >= 0.5)).length;
    const text = corner ? words.corner : own.length ? fill(words.mean, { found, things: truth[picture()].length }) : words.hand;
    show("mine", [...lines, text].join("\n"));
  };
  const add = (one, other) => {
    const box = [Math.min(one.x, other.x), Math.min(one.y, other.y), Math.max(one.x, other.x), Math.max(one.y, other.y)].map((edge) => Math.round(10 * edge) / 10);
    if (box[2] - box[0] < 2 || box[3] - box[1] < 2) return;
    mine = { ...mine, [picture()]: [...(mine[picture()] ?? []), box].slice(-12) };
    keep({ mine });
  };
  const within = (value) => Math.min(Math.max(value, 0), side);
  const at = (event, plane) => {
    const box = plane.getBoundingClientRect();
    return { x: within((event.clientX - box.left) / box.width * side), y: within((event.clientY - box.top) / box.height * side) };
  };
  scene.addEventListener("pointerdown", (event) => {
    scene.setPointerCapture(event.pointerId);
    corner = null;
    drag = { from: at(event, scene), to: at(event, scene) };
  });
  scene.addEventListener("pointermove", (event) => { if (drag) { drag.to = at(event, scene); drawScene(); } });
  scene.addEventListener("pointerup", () => { if (drag) { add(drag.from, drag.to); drag = null; drawScene(); } });
  scene.addEventListener("pointercancel", () => { drag = null; drawScene(); });
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  scene.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      if (corner) { add(corner, cursor); corner = null; } else corner = { ...cursor };
    } else if (event.key === "Escape" && corner) corner = null;
    else if (arrows[event.key]) {
      const size = event.shiftKey ? 1 : 4, [x, y] = arrows[event.key];
      cursor = { x: within(cursor.x + size * x), y: within(cursor.y + size * y) };
    } else return;
    event.preventDefault();
    drawScene();
  });
  for (const kind of ["focus", "blur"]) scene.addEventListener(kind, drawScene);

  // 2. raw boxes
  const level = () => (field("stride").value === "" ? null : held.levels[number("stride")]);
  const drawCells = (context) => {
    const now = level(), rows = held.raw[picture()];
    if (!now) { show("cell", ""); return; }
    const step = now.stride * context.canvas.width / side;
    cell = { row: Math.min(cell.row, now.cells - 1), column: Math.min(cell.column, now.cells - 1) };
    context.strokeStyle = OVER.grid;
    context.lineWidth = 1;
    for (let i = 1; i < now.cells; i++) {
      context.beginPath();
      context.moveTo(i * step, 0); context.lineTo(i * step, context.canvas.height);
      context.moveTo(0, i * step); context.lineTo(context.canvas.width, i * step);
      context.stroke();
    }
    const middle = [(cell.column + 0.5) * now.stride, (cell.row + 0.5) * now.stride], half = now.stride / 2;
    outline(context, [middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half], OVER.mine, { width: 3 });
    for (const [wide, high] of now.anchors) {
      outline(context, [middle[0] - wide / 2, middle[1] - high / 2, middle[0] + wide / 2, middle[1] + high / 2], OVER.mine, { dash: [4, 4] });
    }
    const own = rows.find((row) => row[6] === number("stride") && row[7] === cell.row && row[8] === cell.column);
    if (own) outline(context, edges(own), OVER.kept, { width: 3 });
    const anchors = now.anchors.length ? fill(words.anchors, { count: now.anchors.length }) : words.point;
    const told = fill(words.cell, { stride: now.stride, side: now.cells, row: cell.row + 1, column: cell.column + 1, anchors });
    show("cell", `${told} ${own ? fill(words.best, { label: labels[own[0]], score: own[5].toFixed(2) }) : words.silent}`);
  };
  const drawRaw = () => {
    if (!held) return;
    const context = background(rawPlane, picture()), rows = held.raw[picture()];
    const fates = suppress(rows, number("least"), number("limit")), chosen = number("candidate");
    const cells = level();
    rows.forEach((row, i) => { if (!cells && fates[i].by !== undefined) outline(context, edges(row), OVER.gone, { width: 1, dash: [2, 3] }); });
    rows.forEach((row, i) => { if (!cells && fates[i].kept) outline(context, edges(row), OVER.kept, { text: `${labels[row[0]]} ${row[5].toFixed(2)}` }); });
    const kept = fates.filter((fate) => fate.kept).length, low = fates.filter((fate) => fate.low).length;
    show("counts", fill(words.raw, { count: rows.length, low, kept, suppressed: rows.length - low - kept }));
    const row = rows[chosen - 1], fate = fates[chosen - 1];
    if (row && !cells) {
      if (fate.by !== undefined) outline(context, edges(rows[fate.by]), OVER.kept, { width: 3 });
      outline(context, edges(row), fate.kept ? OVER.kept : OVER.gone, { width: 4 });
    }
    const about = row && { number: chosen, count: rows.length, label: labels[row[0]], score: row[5].toFixed(2) };
    if (!row) show("fate", "");
    else if (fate.kept) show("fate", fill(words.kept, about));
    else if (fate.low) show("fate", fill(words.low, { ...about, least: number("least").toFixed(2) }));
    else show("fate", fill(words.suppressed, { ...about, by: rows[fate.by][5].toFixed(2), iou: fate.iou.toFixed(2), limit: number("limit").toFixed(2) }));
    drawCells(context);
  };
  rawPlane.addEventListener("pointerdown", (event) => {
    const now = held && level(), place = at(event, rawPlane);
    if (!now) return;
    cell = { row: Math.floor(place.y / now.stride), column: Math.floor(place.x / now.stride) };
    drawRaw();
  });
  rawPlane.addEventListener("keydown", (event) => {
    const now = held && level();
    if (!now || !arrows[event.key]) return;
    const [x, y] = arrows[event.key], bound = (value) => Math.min(Math.max(value, 0), now.cells - 1);
    cell = { row: bound(cell.row + y), column: bound(cell.column + x) };
    event.preventDefault();
    drawRaw();
  });

  // 3. average precision
  let found = [], made = null, step = Infinity;  // Infinity: at the end
  const settings = () => ({ least: number("least"), limit: number("limit"), overlap: number("overlap") });
  const drawStep = (last) => {
    if (!made) return;
    step = last >= found.length - 1 ? Infinity : last;
    const label = number("label"), name = labels[label];
    const curve = axes(plot("curve"), { x: { domain: [0, 1], label: words.recall }, y: { domain: [0, 1], label: words.precision } });
    const until = averagePrecision(found.slice(0, last + 1).map((one) => one.right), counts[label]);
    const points = until.recall.map((value, i) => [value, until.precision[i]]);
    if (points.length) steps(curve, [[0, until.envelope[0]], ...until.recall.map((value, i) => [value, until.envelope[i]])], "accent");
    line(curve, points, "accent");
    dots(curve, points.filter((_point, i) => found[i].right), "class2");
    dots(curve, points.filter((_point, i) => !found[i].right), "class1", { size: 3, square: true });
    const one = found[last];
    if (one) {
      const seen = background(canvas("detection"), one.picture);
      for (const [of, ...box] of truth[one.picture]) if (of === label) outline(seen, box, OVER.true);
      outline(seen, edges(one.row), one.right ? OVER.kept : OVER.gone, { width: 3, dash: [6, 4] });
      const right = found.slice(0, last + 1).filter((each) => each.right).length;
      show("step", fill(words.step, {
        number: last + 1, count: found.length, picture: one.picture + 1, score: one.score.toFixed(2), right, things: counts[label],
        outcome: fill(one.right ? words.hit : words.miss, { iou: one.iou.toFixed(2) }),
        precision: until.precision[last].toFixed(3), recall: until.recall[last].toFixed(3),
      }));
    } else {
      canvas("detection").getContext("2d").clearRect(0, 0, 999, 999);
      show("step", fill(words.nothing, { label: name }));
    }
    show("area", fill(words.area, {
      area: until.ap.toFixed(3), label: name, overlap: number("overlap").toFixed(2), ap: made.ap.toFixed(3), labels: there.length, mean: made.mean.toFixed(3),
    }));
  };
  const film = player(drawStep);
  const measure = () => {
    if (!held) return;
    const of = (label) => detections(held.raw, truth, label, settings());
    const ap = (rows, label) => averagePrecision(rows.map((one) => one.right), counts[label]).ap;
    found = of(number("label"));
    made = { ap: ap(found, number("label")), mean: there.reduce((sum, label) => sum + ap(of(label), label), 0) / there.length };
    const last = Math.max(found.length - 1, 0), place = Math.min(step, last);
    film.load(last + 1, false);
    if (step === 0) film.go(place);  // else the link says which
  };

  const showPicture = () => {
    corner = null;
    field("candidate").max = held ? held.raw[picture()].length : 0;
    field("candidate").dispatchEvent(new Event("input", { bubbles: true }));
    drawScene();
    drawRaw();
  };
  const read = async (first = false) => {
    const answered = await ask({ detector: field("detector").value });
    if (!answered) return;
    held = answered;
    const before = kept.stride ?? field("stride").value, none = field("stride").options[0];
    field("stride").replaceChildren(none, ...held.levels.map((one, i) => new Option(`${one.stride} × ${one.stride}`, i)));
    field("stride").value = before < held.levels.length ? before : "";
    if (!first) { field("limit").value = held.limit; field("limit").dispatchEvent(new Event("input", { bubbles: true })); }
    showPicture();
    measure();
  };
  for (const name of ["least", "limit"]) field(name).addEventListener("input", () => { drawRaw(); measure(); });
  field("candidate").addEventListener("input", drawRaw);
  field("stride").addEventListener("change", () => { keep({ stride: field("stride").value }); drawRaw(); });
  field("picture").addEventListener("change", showPicture);
  field("truth").addEventListener("change", drawScene);
  field("detector").addEventListener("change", () => read());
  field("label").addEventListener("change", () => { keep({ label: number("label") }); measure(); });
  field("overlap").addEventListener("change", measure);
  on("clear", () => { mine = { ...mine, [picture()]: [] }; corner = null; keep({ mine }); drawScene(); });
  drawScene();
  await read(true);
};
