// A plot with axes, a line and a ring in it, in the studio's colours.
import { clear, colour } from "./common.js";

// x and y are [low, high]; ``marks`` {x, y} the numbers at the axes; returns the context and both scales
export const axes = (plane, { x: [left, right], y: [low, high], across, up, marks }) => {
  const context = plane.getContext("2d"), { width, height } = plane;
  const x = (value) => 44 + (width - 56) * (value - left) / (right - left);
  const y = (value) => height - 34 - (height - 60) * (value - low) / (high - low);
  clear(plane);
  context.setLineDash([]);
  context.lineWidth = 1;
  context.strokeStyle = colour("muted");
  context.strokeRect(x(left), y(high), x(right) - x(left), y(low) - y(high));
  context.fillStyle = colour("ink");
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "center";
  for (const value of marks.x) context.fillText(value, x(value), height - 20);
  context.fillText(across, x((left + right) / 2), height - 5);
  context.textAlign = "right";
  for (const value of marks.y) context.fillText(Number(value.toPrecision(3)), 40, y(value) + 4);
  context.textAlign = "left";
  context.fillText(up, 6, 12);
  return { context, x, y };
};

// through points [x, y]
export const line = ({ context, x, y }, points, name, dashed = false) => {
  context.strokeStyle = colour(name);
  context.lineWidth = dashed ? 1 : 2;
  context.setLineDash(dashed ? [5, 4] : []);
  context.beginPath();
  for (const [across, up] of points) context.lineTo(x(across), y(up));
  context.stroke();
  context.setLineDash([]);
};

export const ring = ({ context, x, y }, across, up) => {
  if (!Number.isFinite(up)) return;
  context.strokeStyle = colour("class1");
  context.lineWidth = 3;
  context.beginPath();
  context.arc(x(across), y(up), 6, 0, 7);
  context.stroke();
};
