// Place centres, step by step: points join, centres move.
import { clear, fill, mark } from "./common.js";
import { series } from "./plot.js";

// one step of souron's kmeans, for a file that was exported; a test compares both
export const lloyd = (points, centres, move) => {
  const square = ([x, y], [a, b]) => (x - a) ** 2 + (y - b) ** 2;
  const nearest = points.map((point) => {
    const all = centres.map((centre) => square(point, centre));
    return all.indexOf(Math.min(...all));
  });
  if (move) {
    const apart = points.map((point, i) => square(point, centres[nearest[i]]));
    const far = [...points.keys()].sort((a, b) => apart[b] - apart[a]), members = [...nearest];
    const empty = [...centres.keys()].filter((group) => !nearest.includes(group));
    empty.forEach((group, i) => { members[far[i]] = group; });
    centres = centres.map((centre, group) => {
      const own = points.filter((_point, i) => members[i] === group);
      return own.length ? [0, 1].map((axis) => own.reduce((sum, point) => sum + point[axis], 0) / own.length) : centre;
    });
  }
  const inertia = points.reduce((sum, point, i) => sum + square(point, centres[nearest[i]]), 0) / points.length;
  return { centres, nearest, inertia };
};

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, canvas, colour, field, keep, kept, on, plot, recorded, repaint, show, words }) => {
  const plane = canvas("plane"), context = plane.getContext("2d");
  let points = [], reach = 1.2, centres = [], nearest = null, moves = false, curve = [], rounds = 0, ended = false, rival = null;
  let cross = { x: 0, y: 0 };
  const scale = () => plane.width / (2 * reach);
  const pixel = ([x, y]) => [(x + reach) * scale(), (reach - y) * scale()];
  const count = () => Number(field("count").value);

  /** @type {(at: number[], colour: string, size?: number) => void} */
  const star = ([x, y], colour, size = 9) => {
    context.strokeStyle = colour;
    context.lineWidth = 4;
    context.beginPath();
    for (const [i, j] of [[1, 1], [1, -1], [1, 0], [0, 1]]) {
      context.moveTo(x - size * i, y - size * j);
      context.lineTo(x + size * i, y + size * j);
    }
    context.stroke();
  };
  const draw = () => {
    clear(plane);
    points.forEach((point, i) => {
      const [x, y] = pixel(point);
      if (nearest) mark(context, x, y, nearest[i]);
      else { context.fillStyle = colour("muted"); context.beginPath(); context.arc(x, y, 3.5, 0, 7); context.fill(); }
    });
    rival?.centres.forEach((centre) => {
      const [x, y] = pixel(centre);
      context.strokeStyle = colour("ink");
      context.lineWidth = 2;
      context.strokeRect(x - 11, y - 11, 22, 22);
    });
    centres.forEach((centre, i) => { star(pixel(centre), colour("ink"), 11); star(pixel(centre), colour(`class${i}`), 8); });
    if (centres.length < count()) {
      const [x, y] = pixel([cross.x, cross.y]);
      context.strokeStyle = colour("ink");
      context.lineWidth = 1;
      context.beginPath();
      context.moveTo(x - 12, y); context.lineTo(x + 12, y); context.moveTo(x, y - 12); context.lineTo(x, y + 12);
      context.stroke();
    }
    if (curve.length) series(plot("curve"), [curve], { step: words.step_axis });
  };
  const tell = (text) => show("now", text);
  const waiting = () => tell(fill(words.place, { count: count(), placed: centres.length }));

  const again = async (fetchPoints = true) => {
    centres = []; nearest = null; moves = false; curve = []; rounds = 0; ended = false; rival = null;
    keep({ placed: [], steps: 0 });
    show("rival", "");
    plot("curve").replaceChildren();
    if (fetchPoints) {
      const found = await ask({ points: field("points").value });
      if (!found) return;
      ({ points, reach } = found);
    }
    draw();
    waiting();
  };
  const place = (x, y) => {
    if (centres.length >= count()) return;
    centres.push([x, y]);
    keep({ placed: centres });
    draw();
    waiting();
  };
  const fillUp = () => {
    while (centres.length < count()) centres.push([...points[Math.floor(Math.random() * points.length)]]);
    keep({ placed: centres });
  };
  const step = async () => {
    if (!curve.length) fillUp();
    if (ended) return false;
    const found = recorded ? lloyd(points, centres, moves) : await ask({ points: field("points").value, centres, move: moves });
    if (!found) return false;
    const inertia = found.inertia.toFixed(4);
    if (moves) {
      centres = found.centres;
      rounds += 1;
      tell(fill(words.moved, { step: curve.length + 1, inertia }));
    } else {
      const changed = nearest ? found.nearest.filter((one, i) => one !== nearest[i]).length : points.length;
      ended = changed === 0;
      nearest = found.nearest;
      tell(ended ? fill(words.ended, { rounds, inertia }) : fill(words.joined, { step: curve.length + 1, changed, inertia }));
    }
    curve.push(found.inertia);
    keep({ steps: curve.length });
    moves = !moves;
    draw();
    return !ended;
  };

  plane.addEventListener("click", (event) => {
    const edge = plane.getBoundingClientRect();
    place((event.clientX - edge.left) / edge.width * 2 * reach - reach, reach - (event.clientY - edge.top) / edge.height * 2 * reach);
  });
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  plane.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") place(cross.x, cross.y);
    else if (arrows[event.key]) {
      const size = event.shiftKey ? 0.3 : 0.1;
      const keep = (value) => Math.min(Math.max(value, -reach), reach);
      cross = { x: keep(cross.x + size * arrows[event.key][0]), y: keep(cross.y + size * arrows[event.key][1]) };
      draw();
    } else return;
    event.preventDefault();
  });
  on("random", async () => {
    await again(false);
    fillUp();
    draw();
    waiting();
  });
  on("step", step);
  on("run", async () => { for (let i = 0; i < 200 && await step(); i++); });
  on("again", () => again(false));
  on("rival", async () => {
    if (!curve.length) await step();
    const found = await ask({ points: field("points").value, count: count(), rival: true });
    if (!found) return;
    rival = found;
    draw();
    show("rival", fill(words.rival, { best: found.best.toFixed(4), worst: found.worst.toFixed(4), times: found.times, ratio: (curve.at(-1) / found.best).toFixed(2) }));
  });
  field("points").addEventListener("change", () => again());
  field("count").addEventListener("change", () => again(false));
  repaint(draw);
  const { placed = [], steps = 0 } = kept;
  await again();
  centres = placed.slice(0, count());
  keep({ placed: centres });
  draw();
  waiting();
  for (let i = 0; i < steps && await step(); i++);
};
