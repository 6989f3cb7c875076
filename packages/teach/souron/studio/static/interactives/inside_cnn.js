// Draw or choose a picture, look into the layers, press a pixel: window times kernel.
import { bytes, clear, fill, paint, text64 } from "./common.js";

const SIDE = 28;

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, canvas, colour, field, keep, kept, on, part, recorded, repaint, show, words }) => {
  const input = canvas("input");
  if (!input) return;
  const planes = [canvas("first"), canvas("second")];
  const columns = [8, 16];
  let pixels = new Uint8Array(SIDE * SIDE), cursor = { x: 14, y: 14 }, found = null, drawn = false;
  const places = kept.places ?? [{ x: 14, y: 14 }, { x: 7, y: 7 }];  // in the whole of the maps
  let chosen = null, told = null;

  const drawInput = () => {
    paint(input, pixels, SIDE, SIDE);
    const scale = input.width / SIDE, context = input.getContext("2d");
    context.strokeStyle = colour("negative");
    context.lineWidth = 2;
    if (chosen) {
      const step = SIDE / found.maps[chosen.layer].side, reach = chosen.layer === 0 ? 1 : 2.5;
      const middle = (value) => (value + 0.5) * step;
      context.strokeRect((middle(chosen.x) - 0.5 - reach) * scale, (middle(chosen.y) - 0.5 - reach) * scale, (2 * reach + 1) * scale, (2 * reach + 1) * scale);
    }
    if (document.activeElement === input) {
      context.strokeStyle = colour("class5");
      context.strokeRect(cursor.x * scale, cursor.y * scale, 2 * scale, 2 * scale);
    }
  };

  // where map ``number`` lies on its canvas
  const box = (layer, number) => {
    const side = planes[layer].width / columns[layer];
    return { x: (number % columns[layer]) * side + 1, y: Math.floor(number / columns[layer]) * side + 1, width: side - 2, height: side - 2 };
  };

  const drawMaps = () => {
    found?.maps.forEach((maps, layer) => {
      const plane = planes[layer], context = plane.getContext("2d"), values = bytes(maps.values), cells = maps.side ** 2;
      clear(plane);
      for (let number = 0; number < maps.count; number++) {
        paint(plane, values.subarray(number * cells, (number + 1) * cells), maps.side, maps.side, { box: box(layer, number) });
      }
      const at = places[layer], number = Math.floor(at.y / maps.side) * columns[layer] + Math.floor(at.x / maps.side);
      const here = box(layer, number), cell = here.width / maps.side;
      context.strokeStyle = colour("negative");
      context.lineWidth = 2;
      context.strokeRect(here.x, here.y, here.width, here.height);
      context.strokeRect(here.x + (at.x % maps.side) * cell - 2, here.y + (at.y % maps.side) * cell - 2, cell + 4, cell + 4);
    });
  };

  const drawKernels = () => {
    if (!found) return;
    clear(canvas("kernels"));
    const kernels = bytes(found.kernels), cells = found.size ** 2;
    for (let number = 0; number < found.maps[0].count; number++) {
      const at = { x: 29 * (number % 8) + 2, y: 29 * Math.floor(number / 8) + 2, width: 25, height: 25 };
      paint(canvas("kernels"), kernels.subarray(number * cells, (number + 1) * cells), found.size, found.size, { signed: true, box: at });
    }
  };
  const drawAll = () => { drawInput(); drawMaps(); drawKernels(); drawWindow(); };

  const what = () => (drawn
    ? { pixels: Array.from({ length: SIDE }, (_, y) => [...pixels.subarray(y * SIDE, (y + 1) * SIDE)]) }
    : { picture: Number(field("picture").value) });

  const look = async () => {
    keep({ pixels: drawn ? text64(pixels) : null });
    const answered = await ask(what());
    if (!answered) return;
    found = answered;
    pixels = bytes(found.image);
    drawAll();
    show("says", fill(words.says, { said: found.said.map(([name, share]) => `${name} ${Math.round(100 * share)} %`).join(", ") }));
  };

  // a file that was exported holds every seventh pixel of a map
  const nearest = (value) => (recorded ? value - (value % 7) + 3 : value);

  const explain = async (layer) => {
    const { side } = found.maps[layer], at = places[layer];
    places[layer] = { x: nearest(at.x), y: nearest(at.y) };
    const { x, y } = places[layer];
    const number = Math.floor(y / side) * columns[layer] + Math.floor(x / side);
    chosen = { layer, map: number, x: x % side, y: y % side };
    keep({ layer, places });
    drawMaps();
    drawInput();
    told = await ask({ ...what(), ...chosen });
    if (!told) return;
    show("map", `${fill(words.map, { layer: layer + 1, map: number + 1 })}, ${fill(words.cursor, { y: chosen.y + 1, x: chosen.x + 1 })}`);
    show("sum", fill(words.sum, { sum: told.sum, layer: told.layer }));
    show("after", fill(words.after, { normal: told.normal, relu: told.relu }));
    show("below", told.inward > 1 ? fill(words.below, { map: told.below + 1, maps: told.inward, part: told.part }) : "");
    drawWindow();
    part("numbers").textContent = ["window", "kernel", "product"].map((name) => `${words[name]}\n${told[name].map((row) => row.map((value) => value.toFixed(3).padStart(8)).join("")).join("\n")}`).join("\n");
  };

  const drawWindow = () => {
    if (!told) return;
    const plane = canvas("window"), context = plane.getContext("2d");
    clear(plane);
    ["window", "kernel", "product"].forEach((name, place) => {
      const all = told[name].flat(), most = Math.max(...all.map(Math.abs), 1e-6);
      const values = Uint8Array.from(all, (value) => Math.round(127.5 + 127.5 * value / most));
      const x = 140 * place + 4;
      paint(plane, values, told.size, told.size, { signed: true, box: { x, y: 24, width: 120, height: 120 } });
      context.fillStyle = colour("ink");
      context.font = "13px system-ui, sans-serif";
      context.fillText(words[name], x, 16);
      told[name].forEach((row, i) => row.forEach((value, j) => {
        const cell = 120 / told.size;
        context.fillStyle = colour(Math.abs(value) > 0.6 * most ? "paper" : "ink");
        context.fillText(value.toFixed(2), x + j * cell + 5, 24 + i * cell + cell / 2 + 4);
      }));
    });
  };

  const put = (x, y) => {
    drawn = true;
    for (let i = 0; i < 2; i++) for (let j = 0; j < 2; j++) {
      if (x + i < SIDE && y + j < SIDE) pixels[(y + j) * SIDE + x + i] = 255;
    }
    drawInput();
  };
  const place = (event, plane, width, height) => {
    const edge = plane.getBoundingClientRect();
    const clamp = (value, most) => Math.min(Math.max(Math.floor(value), 0), most - 1);
    return {
      x: clamp((event.clientX - edge.left) / edge.width * width, width),
      y: clamp((event.clientY - edge.top) / edge.height * height, height),
    };
  };
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

  let drawing = false;
  input.addEventListener("pointerdown", (event) => { drawing = true; const at = place(event, input, SIDE, SIDE); put(at.x, at.y); });
  input.addEventListener("pointermove", (event) => { if (drawing) { const at = place(event, input, SIDE, SIDE); put(at.x, at.y); } });
  addEventListener("pointerup", () => { if (drawing) { drawing = false; look(); } });
  input.addEventListener("focus", drawInput);
  input.addEventListener("blur", drawInput);
  input.addEventListener("keydown", (event) => {
    if (event.key === " ") put(cursor.x, cursor.y);
    else if (event.key === "Enter") look();
    else if (arrows[event.key]) {
      const [x, y] = arrows[event.key];
      cursor = { x: Math.min(Math.max(cursor.x + x, 0), SIDE - 1), y: Math.min(Math.max(cursor.y + y, 0), SIDE - 1) };
      drawInput();
    } else return;
    event.preventDefault();
  });

  planes.forEach((plane, layer) => {
    const size = () => {
      const { side, count } = found.maps[layer];
      return [side * columns[layer], side * count / columns[layer]];
    };
    plane.addEventListener("click", (event) => {
      if (!found) return;
      places[layer] = place(event, plane, ...size());
      explain(layer);
    });
    plane.addEventListener("keydown", (event) => {
      if (!found) return;
      if (event.key === "Enter" || event.key === " ") explain(layer);
      else if (arrows[event.key]) {
        const [width, height] = size(), [x, y] = arrows[event.key];
        places[layer] = { x: Math.min(Math.max(places[layer].x + x, 0), width - 1), y: Math.min(Math.max(places[layer].y + y, 0), height - 1) };
        drawMaps();
      } else return;
      event.preventDefault();
    });
  });
  on("clear", () => { pixels = new Uint8Array(SIDE * SIDE); drawn = true; chosen = null; drawInput(); input.focus(); });
  on("look", look);
  field("picture").addEventListener("change", () => { drawn = false; chosen = null; look(); });
  repaint(drawAll);
  if (kept.pixels) { pixels = bytes(kept.pixels); drawn = true; }
  await look();
  if (found) await explain(kept.layer ?? 0);
};
