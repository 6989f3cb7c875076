// A map with a brush; what lies under it, and whether its true neighbours do, too.
import { bytes, clear, fill, mark, paint } from "./common.js";

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, canvas, colour, field, keep, kept, repaint, show, words }) => {
  const plane = canvas("map"), context = plane.getContext("2d"), under = canvas("under");
  let found = null, brush = { x: 0.5, y: 0.5, size: 0.12, ...kept.brush };
  const edge = 14;
  const place = (share) => edge + share * (plane.width - 2 * edge);

  const blend = (value) => {
    const share = Math.min(Math.max((value - 0.5) / 0.5, 0), 1);
    return `color-mix(in srgb, ${colour("positive")} ${Math.round(100 * share)}%, ${colour("negative")})`;
  };
  const draw = () => {
    if (!found) return;
    clear(plane);
    found.places.forEach(([x, y], i) => {
      if (field("by_trust").checked) {
        context.fillStyle = blend(found.each[i]);
        context.beginPath();
        context.arc(place(x), place(y), 4, 0, 7);
        context.fill();
      } else mark(context, place(x), place(y), found.label[i], 3.5);
    });
    context.strokeStyle = colour("ink");
    context.lineWidth = 2;
    context.beginPath();
    context.arc(place(brush.x), place(brush.y), brush.size * (plane.width - 2 * edge), 0, 7);
    context.stroke();
    const inside = found.places.map(([x, y]) => Math.hypot(x - brush.x, y - brush.y) <= brush.size);
    const rows = inside.flatMap((is, i) => (is ? [i] : []));
    const all = bytes(found.pictures), cells = found.side ** 2;
    clear(under);
    rows.slice(0, 100).forEach((row, i) => {
      const box = { x: (i % 10) * 32 + 1, y: Math.floor(i / 10) * 32 + 1, width: 30, height: 30 };
      paint(under, all.subarray(row * cells, (row + 1) * cells), found.side, found.side, { box });
    });
    if (!rows.length) { show("brush", words.none); return; }
    const counts = new Map();
    for (const row of rows) counts.set(found.label[row], (counts.get(found.label[row]) ?? 0) + 1);
    const classes = [...counts].sort((a, b) => b[1] - a[1]).map(([name, count]) => fill(words.one, { count, name })).join(", ");
    const near = rows.flatMap((row) => found.near[row]).filter((row) => inside[row]).length / (5 * rows.length);
    show("brush", fill(words.brush, { count: rows.length, classes, near: Math.round(100 * near) }));
  };
  const look = async () => {
    const answered = await ask({ way: field("way").value, shuffled: field("shuffled").checked });
    if (!answered) return;
    found = answered;
    show("map", fill(words.map, found));
    draw();
  };
  const brushed = () => { keep({ brush }); draw(); };
  const move = (event) => {
    const box = plane.getBoundingClientRect();
    const share = (value, from, length) => ((value - from) / length * plane.width - edge) / (plane.width - 2 * edge);
    brush = { ...brush, x: share(event.clientX, box.left, box.width), y: share(event.clientY, box.top, box.height) };
    brushed();
  };
  plane.addEventListener("pointerdown", (event) => { plane.setPointerCapture(event.pointerId); move(event); });
  plane.addEventListener("pointermove", (event) => { if (event.buttons) move(event); });
  plane.addEventListener("keydown", (event) => {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const keep = (value) => Math.min(Math.max(value, 0), 1);
    if (arrows[event.key]) {
      const [x, y] = arrows[event.key];
      brush = { ...brush, x: keep(brush.x + 0.03 * x), y: keep(brush.y + 0.03 * y) };
    } else if (event.key === "+" || event.key === "-") {
      brush = { ...brush, size: Math.min(Math.max(brush.size * (event.key === "+" ? 1.15 : 0.87), 0.03), 0.7) };
    } else return;
    event.preventDefault();
    brushed();
  });
  field("by_trust").addEventListener("change", draw);
  for (const name of ["way", "shuffled"]) field(name).addEventListener("change", look);
  repaint(draw);
  await look();
};
