// Paint a shape, let four generators learn it, then follow diffusion back from noise.
import { bytes, clear, fill } from "./common.js";

const MODELS = ["gan", "vae", "glow", "ddpm"];
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

// the noise found for a class, led away from that for no class: (1 + w) class - w none
const guided = (own, none, guidance) => own.map((value, i) => (1 + guidance) * value - guidance * none[i]);

// the arrow of a point x in one coordinate: the score, or the step that DDIM takes
const arrow = (kind, x, noise, kept, after) => {
  const a = Math.sqrt(kept), s = Math.sqrt(1 - kept);
  if (kind === "score") return -noise / s;
  return Math.sqrt(after) * (x - s * noise) / a + Math.sqrt(1 - after) * noise - x;
};

// "0012" -> "02,11,21": each digit with the base 36 count of its repetitions
const shorter = (cells) => cells.replace(/(.)\1*/g, (run) => `${run[0]}${run.length.toString(36)},`);
const longer = (text) => text.split(",").filter(Boolean).map((run) => run[0].repeat(parseInt(run.slice(1), 36))).join("");

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, tools) => {
  const { ask, canvas, colour, field, keep, kept, on, part, repaint, say, show, words } = tools;
  const paper = canvas("paint"), plane = canvas("field");
  let about = null, cells = [], cursor = { x: 10, y: 10 }, run = 0, found = {}, way = null, chosen = { x: 4, y: 4 };

  const training = () => ({ cells: cells.join(""), seed: Number(field("seed").value), length: Number(field("length").value) });
  // one request after the other; none overtakes a training
  let line = Promise.resolve();
  const later = (what) => (line = line.then(() => ask(what)));

  const blank = (target) => {
    clear(target);
    return target.getContext("2d");
  };
  const dots = (context, values, place, tint, size = 1.6) => {
    context.fillStyle = tint;
    for (let i = 0; i < values.length; i += 2) {
      const [x, y] = place(values[i], values[i + 1]);
      context.fillRect(x - size, y - size, 2 * size, 2 * size);
    }
  };
  const drawCells = (context, edge, left, top, alpha = 1) => {
    context.globalAlpha = alpha;
    cells.forEach((kind, i) => {
      if (kind === "0") return;
      const x = left + (i % about.side) * edge, y = top + Math.floor(i / about.side) * edge;
      context.fillStyle = colour(kind === "1" ? "class0" : "class1");
      context.fillRect(x, y, Math.ceil(edge), Math.ceil(edge));
      if (kind === "2" && alpha === 1) { // in two textures, for those who do not see the colours apart
        context.fillStyle = colour("paper");
        context.fillRect(x + edge / 2 - 1, y + edge / 2 - 1, 2, 2);
      }
    });
    context.globalAlpha = 1;
  };
  const drawPaint = () => {
    const context = blank(paper), edge = paper.width / about.side;
    drawCells(context, edge, 0, 0);
    if (document.activeElement === paper) {
      context.strokeStyle = colour("ink");
      context.lineWidth = 2;
      context.strokeRect(cursor.x * edge - 1, cursor.y * edge - 1, 2 * edge + 2, 2 * edge + 2);
    }
  };

  const frames = (name) => found[name]?.frames ?? [];
  const draw = (at) => {
    if (!about) return;
    MODELS.forEach((name) => {
      const target = canvas(name), context = blank(target), own = frames(name)[Math.min(at, frames(name).length - 1)];
      drawCells(context, target.width / about.side, 0, 0, 0.18);
      if (!own) return;
      const place = (x, y) => [x / 255 * target.width, (1 - y / 255) * target.height];
      dots(context, bytes(own.points), place, colour("ink"));
    });
    const first = MODELS.map((name) => `${words[name]} ${frames(name)[Math.min(at, frames(name).length - 1)]?.step ?? 0}`);
    show("now", fill(words.frame, { steps: first.join(", ") }));
    table(at);
  };
  const table = (at) => {
    const percent = (share) => `${(100 * share).toFixed(1)} %`;
    const row = (name, own) => [name, own ? own.energy.toFixed(3) : "", own ? percent(own.off) : "", own ? percent(own.missed) : ""];
    const rows = MODELS.map((name) => row(words[name], frames(name)[Math.min(at, frames(name).length - 1)]));
    rows.push(row(words.real, found.gan?.floor));
    const cellsOf = (texts, kind) => {
      const line = document.createElement("tr");
      texts.forEach((text, i) => {
        const cell = document.createElement(i === 0 ? "th" : kind);
        if (cell.tagName === "TH") cell.scope = kind === "th" ? "col" : "row";
        cell.textContent = text;
        line.append(cell);
      });
      return line;
    };
    const body = document.createElement("table");
    body.append(cellsOf([words.model, words.energy, words.off, words.missed], "th"), ...rows.map((texts) => cellsOf(texts, "td")));
    part("scores").replaceChildren(body);
  };
  const recording = tools.player(draw);

  const forget = () => {
    run += 1;
    found = {};
    way = null;
    keep({ learnt: false });
    recording.load(1, false);
    for (const name of ["stop", "arrow"]) show(name, "");
    show("guided", words.untrained);
    drawField();
  };
  const learn = async () => {
    if (cells.filter((kind) => kind !== "0").length < about.least) {
      say(fill(words.few, { least: about.least }));
      return;
    }
    forget();
    const mine = run, whole = training();
    for (let number = 0; number < about.parts; number++) {
      for (const model of MODELS) {
        const answered = await later({ ...whole, model, part: number });
        if (!answered || mine !== run) return;
        found[model] = { floor: answered.floor ?? found[model].floor, frames: [...frames(model), answered] };
        draw(number);
        show("now", `${fill(words.learning, { part: number + 1, parts: about.parts })} ${part("now").textContent}`);
      }
    }
    recording.load(frames("gan").length, false);
    recording.go(frames("gan").length - 1);
    keep({ learnt: true });
    await back();
    say(words.ready);
  };

  // the way back
  const stops = () => (way ? way.kept.length - 1 : 0);
  const stop = () => Math.min(Number(field("stop").value), stops());
  const noiseAt = (at) => {
    const [own, none] = way.noise[at].map((text) => [...bytes(text)].map((value) => (value / 255 * 2 - 1) * way.most));
    return field("wanted").value === "2" ? none : guided(own, none, Number(field("guidance").value));
  };
  const spot = (i) => {
    const at = (number) => (number + 0.5) / way.grid * 2 * way.reach - way.reach;
    return [at(i % way.grid), -at(Math.floor(i / way.grid))];
  };
  const drawField = () => {
    const context = blank(plane);
    if (!way) return;
    const scale = plane.width / (2 * way.reach), middle = plane.width / 2, at = stop();
    const place = (x, y) => [middle + x * scale, middle - y * scale];
    drawCells(context, 2 * scale / about.side, middle - scale, middle - scale, 0.18);
    const values = bytes(way.points[at]);
    dots(context, values, (x, y) => place((x / 255 * 2 - 1) * way.reach, (y / 255 * 2 - 1) * way.reach), colour("ink"), 1.8);
    show("stop", fill(words.stop, { stop: at, stops: stops(), share: (100 * (1 - way.kept[at])).toFixed(1) }));
    if (at === stops()) { show("arrow", ""); return; }
    const noise = noiseAt(at), kind = field("arrows").value;
    const all = Array.from({ length: way.grid ** 2 }, (_, i) => spot(i).map((x, j) => arrow(kind, x, noise[2 * i + j], way.kept[at], way.kept[at + 1])));
    const longest = Math.max(...all.map(([u, v]) => Math.hypot(u, v)), 1e-9), reach = 0.95 * plane.width / way.grid / longest;
    all.forEach(([u, v], i) => {
      const [x, y] = place(...spot(i)), own = i === chosen.y * way.grid + chosen.x;
      const to = [x + u * reach, y - v * reach], turn = Math.atan2(to[1] - y, to[0] - x);
      context.strokeStyle = colour(own ? "ink" : "accent");
      context.lineWidth = own ? 3 : 1.3;
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(...to);
      for (const side of [2.6, -2.6]) {
        context.moveTo(...to);
        context.lineTo(to[0] + 5 * Math.cos(turn + side), to[1] + 5 * Math.sin(turn + side));
      }
      context.stroke();
      if (own) context.strokeRect(x - 5, y - 5, 10, 10);
    });
    const i = chosen.y * way.grid + chosen.x, [x, y] = spot(i), two = (value) => value.toFixed(2);
    show("arrow", fill(words.arrow, { x: two(x), y: two(y), a: two(noise[2 * i]), b: two(noise[2 * i + 1]), u: two(all[i][0]), v: two(all[i][1]) }));
  };
  const back = async () => {
    if (frames("ddpm").length < about.parts) return;
    const mine = run, wanted = Number(field("wanted").value), guidance = wanted === 2 ? 0 : Number(field("guidance").value);
    const answered = await later({ ...training(), wanted, guidance });
    if (!answered || mine !== run) return;
    way = answered;
    const percent = (share) => (100 * share).toFixed(1);
    const said = { guidance, right: percent(way.right), off: percent(way.off), missed: percent(way.missed) };
    show("guided", fill(wanted === 2 ? words.free : words.guided, said));
    drawField();
  };
  let clock = null;
  const halt = () => { clearInterval(clock); clock = null; };
  const moveTo = (at) => {
    field("stop").value = at;
    field("stop").dispatchEvent(new Event("input", { bubbles: true }));
  };
  on("walk", () => {
    if (!way) { show("guided", words.untrained); return; }
    halt();
    moveTo(0);
    clock = setInterval(() => {
      if (!plane.isConnected || stop() >= stops()) halt();
      else moveTo(stop() + 1);
    }, 220);
  });
  for (const name of ["stop", "guidance"]) field(name).addEventListener("input", drawField);
  field("arrows").addEventListener("change", drawField);
  for (const name of ["wanted", "guidance"]) field(name).addEventListener("change", back);

  const keepCells = () => keep({ cells: shorter(cells.join("")) });
  const put = ({ x, y }) => {
    for (const [i, j] of [[0, 0], [1, 0], [0, 1], [1, 1]]) {
      if (x + i < about.side && y + j < about.side) cells[(y + j) * about.side + x + i] = field("brush").value;
    }
    drawPaint();
  };
  const edited = () => { keepCells(); forget(); };
  const cell = (event, target, count) => {
    const box = target.getBoundingClientRect();
    const clamp = (share) => Math.min(Math.max(Math.floor(share * count), 0), count - 1);
    return { x: clamp((event.clientX - box.left) / box.width), y: clamp((event.clientY - box.top) / box.height) };
  };
  let painting = false;
  paper.addEventListener("pointerdown", (event) => {
    painting = true;
    paper.setPointerCapture(event.pointerId);
    put(cell(event, paper, about.side));
  });
  paper.addEventListener("pointermove", (event) => { if (painting) put(cell(event, paper, about.side)); });
  for (const end of ["pointerup", "pointercancel"]) {
    paper.addEventListener(end, () => { if (painting) { painting = false; edited(); } });
  }
  for (const event of ["focus", "blur"]) paper.addEventListener(event, drawPaint);
  paper.addEventListener("keydown", (event) => {
    if (event.key === " " || event.key === "Enter") { put(cursor); edited(); }
    else if (ARROWS[event.key]) {
      const [x, y] = ARROWS[event.key], keep = (value) => Math.min(Math.max(value, 0), about.side - 2);
      cursor = { x: keep(cursor.x + 2 * x), y: keep(cursor.y + 2 * y) };
      drawPaint();
      say(fill(words.cursor, { y: cursor.y + 1, x: cursor.x + 1 }));
    } else return;
    event.preventDefault();
  });
  plane.addEventListener("click", (event) => { if (way) { chosen = cell(event, plane, way.grid); drawField(); } });
  plane.addEventListener("keydown", (event) => {
    if (!way || !ARROWS[event.key]) return;
    const [x, y] = ARROWS[event.key], keep = (value) => Math.min(Math.max(value, 0), way.grid - 1);
    chosen = { x: keep(chosen.x + x), y: keep(chosen.y + y) };
    drawField();
    event.preventDefault();
  });

  repaint(() => { if (about) { drawPaint(); drawField(); } });

  const choose = async (own = "") => {
    const answered = await later({ shape: field("shape").value });
    if (!answered) return;
    about = answered;
    const restored = longer(own);
    cells = [...(restored.length === about.side ** 2 ? restored : about.cells)];
    drawPaint();
    forget();
  };
  on("learn", learn);
  field("shape").addEventListener("change", () => { keep({ cells: "" }); choose(); });
  for (const name of ["seed", "length"]) field(name).addEventListener("change", forget);
  const { cells: own = "", learnt = false } = kept;
  await choose(own);
  if (learnt) await learn();
};
