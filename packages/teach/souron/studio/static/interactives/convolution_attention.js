// A kernel, a receptive field, patches and attention: what follows a control is computed here.
import { bytes, clear, fill, paint } from "./common.js";
import { ownImage } from "./own_image.js";

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KERNELS = {
  blur: [[1, 1, 1, 1, 1, 1, 1, 1, 1], 9],
  edges: [[0, 1, 0, 1, -4, 1, 0, 1, 0], 1],
  vertical: [[-1, 0, 1, -2, 0, 2, -1, 0, 1], 1],
  sharpen: [[0, -1, 0, -1, 5, -1, 0, -1, 0], 1],
  emboss: [[-2, -1, 0, -1, 1, 1, 0, 1, 2], 1],
  nothing: [[0, 0, 0, 0, 1, 0, 0, 0, 0], 1],
};

// as torch.nn.functional.conv2d, for one channel of side x side and a kernel of 3 x 3
const convolve = (values, side, kernel, stride, padding, dilation) => {
  const size = Math.floor((side + 2 * padding - 2 * dilation - 1) / stride) + 1, result = [];
  for (let y = 0; y < size; y++) for (let x = 0; x < size; x++) result.push(terms(values, side, kernel, stride, padding, dilation, y, x).reduce((sum, [pixel, weight]) => sum + pixel * weight, 0));
  return { size: Math.max(size, 0), values: result };
};
// the nine pixels under the kernel with its weights; 0 beyond the border
const terms = (values, side, kernel, stride, padding, dilation, y, x) => kernel.map((weight, i) => {
  const row = y * stride - padding + dilation * Math.floor(i / 3), column = x * stride - padding + dilation * (i % 3);
  return [row >= 0 && row < side && column >= 0 && column < side ? values[row * side + column] : 0, weight];
});

// softmax(q k' / sqrt(d)) of each word, and the sums of the values
const attend = (query, key, value, causal) => {
  const weights = query.map((q, i) => {
    const scores = key.map((k, j) => (causal && j > i ? -Infinity : q.reduce((sum, part, d) => sum + part * k[d], 0) / Math.sqrt(q.length)));
    const most = Math.max(...scores), all = scores.map((score) => Math.exp(score - most));
    const sum = all.reduce((before, each) => before + each, 0);
    return all.map((each) => each / sum);
  });
  return { weights, output: weights.map((row) => value[0].map((_, d) => row.reduce((sum, share, j) => sum + share * value[j][d], 0))) };
};

/** @type {import("../../types.d.ts").Start} */
export const start = async (root, tools) => {
  const { ask, canvas, colour, field, part, repaint, say, show, words } = tools;
  if (!field("picture")) return;
  const number = (name) => Number(field(name).value) || 0;
  let own = null, about = null, grey = [], small = [], result = null, layers = [], weights = null;
  let pixel = { x: 20, y: 20 }, unit = { x: 0.5, y: 0.5 }, patch = { x: 3, y: 3 };

  // one request after the other, so that none is thrown away for another part's
  let line = Promise.resolve();
  const later = (what) => (line = line.then(() => ask({ ...(own ? { own } : { picture: number("picture") }), ...what })));

  const clamp = (value, most) => Math.min(Math.max(value, 0), most);
  const place = (event, target, width, height) => {
    const box = target.getBoundingClientRect();
    return { x: clamp(Math.floor((event.clientX - box.left) / box.width * width), width - 1), y: clamp(Math.floor((event.clientY - box.top) / box.height * height), height - 1) };
  };
  const frame = (target, x, y, width, height, name = "class1") => {
    const context = target.getContext("2d");
    context.strokeStyle = colour(name);
    context.lineWidth = 2;
    context.strokeRect(x, y, width, height);
  };
  // the image with blue over it, as strong as the shares 0..1 of its cells
  const tinted = (target, pixels, side, shares, cells) => {
    paint(target, pixels, side, side);
    const context = target.getContext("2d"), edge = target.width / cells;
    context.fillStyle = "#1e8fff";
    shares.forEach((share, i) => {
      context.globalAlpha = 0.85 * share;
      context.fillRect((i % cells) * edge, Math.floor(i / cells) * edge, edge, edge);
    });
    context.globalAlpha = 1;
  };
  const moved = (target, act) => target.addEventListener("keydown", (event) => {
    if (!ARROWS[event.key]) return;
    act(...ARROWS[event.key]);
    event.preventDefault();
  });

  // the kernel
  const kernel = () => Array.from({ length: 9 }, (_, i) => number(`k${i}`) / (number("divisor") || 1));
  const options = () => ["stride", "padding", "dilation"].map(number);
  const drawKernel = () => {
    if (!about) return;
    result = convolve(grey, about.side, kernel(), ...options());
    const input = canvas("input"), output = canvas("output"), { size, values } = result;
    paint(input, grey, about.side, about.side);
    clear(output);
    if (!size) { show("size", words.empty); show("pixel", ""); return; }
    const low = Math.min(...values), high = Math.max(...values), signed = low < 0, most = Math.max(-low, high, 1e-9);
    const shown = values.map((value) => (signed ? Math.round(127.5 + 127.5 * value / most) : clamp(Math.round(value), 255)));
    paint(output, shown, size, size, { signed });
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length, two = (value) => value.toFixed(2);
    show("size", fill(words.size, { before: about.side, after: size, low: two(low), high: two(high), mean: two(mean) }));
    pixel = { x: Math.min(pixel.x, size - 1), y: Math.min(pixel.y, size - 1) };
    const [stride, padding, dilation] = options(), cell = output.width / size, edge = input.width / about.side;
    frame(output, pixel.x * cell - 1, pixel.y * cell - 1, cell + 2, cell + 2);
    for (let i = 0; i < 9; i++) {
      const row = pixel.y * stride - padding + dilation * Math.floor(i / 3), column = pixel.x * stride - padding + dilation * (i % 3);
      frame(input, column * edge, row * edge, edge, edge);
    }
    const short = (value) => String(Math.round(value * 1000) / 1000);
    const sum = terms(grey, about.side, kernel(), stride, padding, dilation, pixel.y, pixel.x).map(([value, weight]) => `${value} × ${short(weight)}`).join(" + ");
    show("pixel", fill(words.pixel, { y: pixel.y + 1, x: pixel.x + 1, sum: `${sum} = ${values[pixel.y * size + pixel.x].toFixed(2)}` }));
  };
  canvas("output").addEventListener("click", (event) => {
    if (!result?.size) return;
    pixel = place(event, canvas("output"), result.size, result.size);
    drawKernel();
  });
  moved(canvas("output"), (x, y) => {
    if (!result?.size) return;
    pixel = { x: clamp(pixel.x + x, result.size - 1), y: clamp(pixel.y + y, result.size - 1) };
    drawKernel();
  });
  for (const name of ["divisor", "stride", "padding", "dilation", ...Array.from({ length: 9 }, (_, i) => `k${i}`)]) field(name).addEventListener("input", drawKernel);
  field("preset").addEventListener("change", () => {
    const [values, divisor] = KERNELS[field("preset").value];
    values.forEach((value, i) => { field(`k${i}`).value = value; });
    field("divisor").value = divisor;
    field("divisor").dispatchEvent(new Event("input", { bubbles: true }));
  });

  // receptive fields
  const drawField = () => {
    const layer = layers[clamp(number("depth") - 1, layers.length - 1)], target = canvas("receptive");
    if (!layer) return;
    tinted(target, small, 28, [...bytes(layer.values)].map((value) => value / 255), 28);
    const [top, left, bottom, right] = layer.box, edge = target.width / 28;
    frame(target, left * edge + 1, top * edge + 1, (right - left) * edge - 2, (bottom - top) * edge - 2);
    show("layer", fill(layer.kind === "Linear" ? words.scores : words.layer, { ...layer, y: layer.y + 1, x: layer.x + 1, high: bottom - top, wide: right - left }));
  };
  const lookDeeper = async () => {
    const answered = await later({ network: field("network").value, ...unit });
    if (!answered) return;
    layers = answered.layers;
    const slider = field("depth"), before = number("depth");
    slider.max = layers.length;
    slider.value = Math.min(before, layers.length);
    slider.parentElement.querySelector("output").textContent = slider.value;
    drawField();
  };
  const moveUnit = (at) => { unit = { x: (at.x + 0.5) / 28, y: (at.y + 0.5) / 28 }; lookDeeper(); };
  canvas("receptive").addEventListener("click", (event) => moveUnit(place(event, canvas("receptive"), 28, 28)));
  moved(canvas("receptive"), (x, y) => moveUnit({ x: clamp(Math.floor(unit.x * 28) + 2 * x, 27), y: clamp(Math.floor(unit.y * 28) + 2 * y, 27) }));
  field("network").addEventListener("change", lookDeeper);
  field("depth").addEventListener("input", drawField);

  // patches
  const drawPatches = () => {
    if (!about || !weights) return;
    const { grid, width } = about, first = field("first").checked, asks = first ? 0 : 1 + patch.y * grid + patch.x;
    const row = weights[asks], most = Math.max(...row.slice(1), 1e-9), target = canvas("patches"), edge = target.width / grid;
    tinted(target, small, 28, row.slice(1).map((share) => share / most), grid);
    const context = target.getContext("2d");
    context.strokeStyle = "rgba(255, 255, 255, 0.35)";
    context.lineWidth = 1;
    for (let i = 1; i < grid; i++) { context.strokeRect(i * edge, -1, 0, target.height + 2); context.strokeRect(-1, i * edge, target.width + 2, 0); }
    if (!first) frame(target, patch.x * edge + 1, patch.y * edge + 1, edge - 2, edge - 2);
    const strip = canvas("token"), token = bytes(about.tokens).subarray((asks - 1) * width, asks * width);
    clear(strip);
    if (!first) {
      const cut = about.patch, pixels = Array.from({ length: cut ** 2 }, (_, i) => small[(patch.y * cut + Math.floor(i / cut)) * 28 + patch.x * cut + i % cut]);
      paint(strip, pixels, cut, cut, { box: { x: 4, y: 14, width: 92, height: 92 } });
      paint(strip, token, width / 8, 8, { signed: true, box: { x: 120, y: 14, width: 150, height: 92 } });
    }
    show("became", first ? words.first : fill(words.token, { patch: about.patch, y: patch.y + 1, x: patch.x + 1, token: asks, width }));
    const best = row.indexOf(Math.max(...row.slice(1)), 1) - 1, percent = (share) => (100 * share).toFixed(1);
    show("looks", fill(words.looks, { layer: number("block"), head: number("head"), best: percent(row[best + 1]), y: Math.floor(best / grid) + 1, x: best % grid + 1, first: percent(row[0]), own: percent(row[asks]) }));
  };
  const lookAcross = async () => {
    const [block, head] = ["block", "head"].map((name) => number(name) - 1), answered = await later({ block, head });
    if (!answered || block !== number("block") - 1 || head !== number("head") - 1) return; // a newer one is on its way
    weights = answered.weights;
    drawPatches();
  };
  canvas("patches").addEventListener("click", (event) => { if (about) { patch = place(event, canvas("patches"), about.grid, about.grid); field("first").checked = false; drawPatches(); } });
  moved(canvas("patches"), (x, y) => { if (about) { patch = { x: clamp(patch.x + x, about.grid - 1), y: clamp(patch.y + y, about.grid - 1) }; drawPatches(); } });
  for (const name of ["block", "head"]) field(name).addEventListener("change", lookAcross);
  field("first").addEventListener("change", drawPatches);

  // words
  const drawWords = () => {
    const count = number("count"), all = Array.from({ length: count }, (_, i) => i);
    /** @type {NodeListOf<HTMLElement>} */ (root.querySelectorAll("[data-row]")).forEach((row) => { row.hidden = Number(row.dataset.row) >= count; });
    const vectors = (kind) => all.map((i) => [number(`${kind}${i}0`), number(`${kind}${i}1`)]);
    const found = attend(vectors("q"), vectors("k"), vectors("v"), field("causal").checked);
    const names = all.map((i) => field(`w${i}`).value || String(i + 1)), body = document.createElement("table");
    const head = (text, scope) => { const cell = document.createElement("th"); cell.scope = scope; cell.textContent = text; return cell; };
    const lineOf = (...cells) => { const line = document.createElement("tr"); line.append(...cells); return line; };
    body.append(lineOf(head("", "col"), ...names.map((name) => head(name, "col")), head(words.output, "col")));
    found.weights.forEach((row, i) => body.append(lineOf(
      head(fill(words.weights, { word: names[i] }), "row"),
      ...row.map((share) => {
        const cell = document.createElement("td");
        cell.textContent = share.toFixed(3);
        cell.style.setProperty("--share", `${Math.round(70 * share)}%`);
        return cell;
      }),
      Object.assign(document.createElement("td"), { textContent: `(${found.output[i].map((value) => value.toFixed(2)).join(", ")})` }),
    )));
    part("attention").replaceChildren(body);
  };
  for (const input of part("words").querySelectorAll("input")) input.addEventListener("input", drawWords);
  for (const name of ["count", "causal"]) field(name).addEventListener("change", drawWords);

  const look = async () => {
    const answered = await later({});
    if (!answered) return;
    about = answered;
    [grey, small] = [[...bytes(about.grey)], [...bytes(about.small)]];
    drawKernel();
    show("says", fill(words.says, { said: about.said.map(([name, share]) => `${name} ${Math.round(100 * share)} %`).join(", ") }));
    await lookDeeper();
    await lookAcross();
  };
  const take = async (file) => {
    const image = await ownImage(file);
    if (!image) { say(words.unread); return; }
    own = { width: image.width, height: image.height, rgb: image.rgb };
    await look();
  };
  part("photo").addEventListener("change", (event) => { if (event.target.files.length) take(event.target.files[0]); });
  field("picture").addEventListener("change", () => { own = null; part("photo").value = ""; look(); });
  repaint(() => { drawKernel(); drawField(); drawPatches(); });
  drawWords();
  await look();
};
