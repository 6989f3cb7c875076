// A mask painted over an image: white where it was painted, a file of the form. Without a pointer, the
// field of the mask takes a file.
import { make } from "./plain.js";

const STROKE = 1 / 16; // width of the brush, of the image's shorter side

// A figure with the image `file`; `input` is the field of the mask, `put(input, files)` fills it
export const painted = (file, input, put) => {
  const canvas = make("canvas", { ariaHidden: "true" });
  const image = make("img", { src: URL.createObjectURL(file), alt: file.name });
  const wipe = make("button", { type: "button", textContent: input.dataset.wipe });
  const figure = make("figure", { className: "painted" }, make("div", {}, image, canvas), wipe);
  const draw = canvas.getContext("2d");

  image.addEventListener("error", () => figure.remove());
  image.addEventListener("load", () => {
    Object.assign(canvas, { width: image.naturalWidth, height: image.naturalHeight });
    const lineWidth = Math.max(1, STROKE * Math.min(canvas.width, canvas.height));
    Object.assign(draw, { strokeStyle: "#fff", lineCap: "round", lineJoin: "round", lineWidth });
  });

  const at = ({ offsetX, offsetY }) => [
    (offsetX * canvas.width) / canvas.clientWidth, (offsetY * canvas.height) / canvas.clientHeight,
  ];
  const move = (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    draw.lineTo(...at(event));
    draw.stroke();
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    draw.beginPath();
    draw.moveTo(...at(event));
    move(event);
  });
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", () => {
    const black = make("canvas", { width: canvas.width, height: canvas.height });
    const whole = black.getContext("2d");
    whole.fillRect(0, 0, black.width, black.height);
    whole.drawImage(canvas, 0, 0);
    black.toBlob((blob) => put(input, [new File([blob], "mask.png", { type: blob.type })]));
  });
  wipe.addEventListener("click", () => {
    draw.clearRect(0, 0, canvas.width, canvas.height);
    put(input, []);
  });
  return figure;
};
