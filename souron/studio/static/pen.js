// The pen of presentation mode: strokes in the page's coordinates on a canvas over it, so that they scroll with it.
import { $, $$, make } from "./plain.js";

const WIDTH = 4, REACH = 14; // pixels: of a stroke, and of the eraser around its middle
let canvas = null, ink = "red";
let strokes = []; // {colour, points: [[x, y], ...]}

const drawing = () => Boolean(canvas && !canvas.hidden && canvas.classList.contains("on"));

const repaint = () => {
  if (!canvas) return;
  const scale = devicePixelRatio;
  Object.assign(canvas, { width: innerWidth * scale, height: innerHeight * scale });
  const context = canvas.getContext("2d");
  context.setTransform(scale, 0, 0, scale, -scrollX * scale, -scrollY * scale);
  Object.assign(context, { lineWidth: WIDTH, lineCap: "round", lineJoin: "round" });
  for (const { colour, points } of strokes) {
    context.strokeStyle = colour;
    context.beginPath();
    context.moveTo(...points[0]);
    for (const point of points) context.lineTo(...point);
    context.stroke();
  }
};

const erase = ([x, y]) => {
  strokes = strokes.filter(({ points }) => !points.some((point) => Math.hypot(point[0] - x, point[1] - y) < REACH));
};

const move = (event) => {
  if (!canvas.hasPointerCapture(event.pointerId)) return;
  const seen = event.getCoalescedEvents?.() ?? [];
  for (const { pageX, pageY } of seen.length ? seen : [event]) {
    if (ink === "eraser") erase([pageX, pageY]);
    else strokes.at(-1).points.push([pageX, pageY]);
  }
  repaint();
};

const begin = (event) => {
  if (event.button !== 0) return;
  canvas.setPointerCapture(event.pointerId);
  const colour = getComputedStyle($(`[data-ink="${ink}"]`)).getPropertyValue("--pen").trim();
  if (ink !== "eraser") strokes.push({ colour, points: [[event.pageX, event.pageY]] });
  move(event);
};

const showInk = () => {
  $(".inks").hidden = !drawing();
  $("[data-do=pen]").setAttribute("aria-pressed", String(drawing()));
  for (const button of $$("[data-ink]")) button.setAttribute("aria-pressed", String(button.dataset.ink === ink));
};

const choose = (name) => {
  ink = name;
  showInk();
};

const wipe = () => {
  strokes = [];
  repaint();
};

// the pen on or off; what is drawn stays until it is wiped off
const toggle = (on = !drawing()) => {
  if (on && !canvas) {
    canvas = make("canvas", { className: "pen", ariaHidden: "true" });
    canvas.addEventListener("pointerdown", begin);
    canvas.addEventListener("pointermove", move);
    document.body.append(canvas);
    for (const kind of ["resize", "scroll"]) addEventListener(kind, repaint);
  }
  canvas?.classList.toggle("on", on);
  if (ink === "eraser" && !on) ink = "red";
  repaint();
  showInk();
};

export const pen = { choose, drawing, toggle, wipe };
