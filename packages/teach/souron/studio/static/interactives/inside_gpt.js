// A text as tokens, attention head by head, activations, the next token's probabilities.
import { bytes, fill, paint } from "./common.js";
import { dots, percent as rounded, plot as axes } from "./plot.js";

const SHOWN = 12;  // candidates in the list

// chances of tokens with these logits: temperature, then top-k, then top-p; {id: chance}, most probable first
export const chances = (logits, order, temperature, topk, topp) => {
  const most = logits[order[0]];
  if (temperature === 0) return { all: new Map([[order[0], 1]]), drawn: new Map([[order[0], 1]]) };
  const raw = new Float64Array(order.length);
  let sum = 0;
  order.forEach((id, place) => { sum += raw[place] = Math.exp((logits[id] - most) / temperature); });
  const count = topk > 0 ? Math.min(topk, order.length) : order.length;
  let within = 0;
  for (let place = 0; place < count; place++) within += raw[place];
  const drawn = new Map();
  let before = 0;
  for (let place = 0; place < count && before <= topp; place++) {
    drawn.set(order[place], raw[place]);
    before += raw[place] / within;
  }
  const kept = [...drawn.values()].reduce((one, other) => one + other, 0);
  for (const [id, value] of drawn) drawn.set(id, value / kept);
  return { all: new Map(Array.from(order.subarray(0, 60), (id, place) => [id, raw[place] / sum])), drawn };
};

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, tools) => {
  const { ask, canvas, colour, field, on, part, plot, show, words } = tools;
  if (!part("tokens")) return;
  const number = (name) => Number(field(name).value);
  let more = [...(tools.kept.more ?? [])];
  let found = null, logits = null, order = null, attention = null;
  let read = [], readBy = "", kept = 0;
  const chosen = () => ({ token: number("token") - 1, head: Math.min(number("head"), found.count) - 1, layer: number("layer") - 1 });
  const percent = (value, digits = 1) => (100 * value).toFixed(digits);
  const text = (place) => found.tokens[place][1];
  const quoted = (name) => `“${name}”`;

  /** @type {(name: string, most: number, value?: number | null) => void} */
  const limit = (name, most, value = null) => {
    const range = field(name);
    range.max = most;
    if (value !== null) range.value = value;
    const shown = range.parentElement.querySelector("output");
    if (shown) shown.textContent = range.value;
  };
  const blank = (plane) => {
    const context = plane.getContext("2d");
    context.fillStyle = colour("paper");
    context.fillRect(0, 0, plane.width, plane.height);
    context.font = "12px system-ui, sans-serif";
    return context;
  };
  const framed = (plane, x, y, width, height, name = "negative") => {
    const context = plane.getContext("2d");
    context.strokeStyle = colour(name);
    context.lineWidth = 2;
    context.strokeRect(x + 1, y + 1, width - 2, height - 2);
  };
  const weights = (head, query) => {
    const count = found.tokens.length, begin = (head * count + query) * count;
    return attention.subarray(begin, begin + count);
  };

  const drawTokens = () => {
    const { token } = chosen();
    part("tokens").replaceChildren(...found.tokens.map(([id, name], place) => {
      const item = document.createElement("li"), small = document.createElement("small");
      small.textContent = id;
      item.append(name, small);
      item.classList.toggle("new", place >= kept);
      if (place === token) item.setAttribute("aria-current", "true");
      item.addEventListener("click", () => choose(place));
      return item;
    }));
    show("token", fill(words.token, { place: token + 1, token: quoted(text(token)), id: found.tokens[token][0] }));
  };

  // attention of a head as a picture, from paper to blue, by its square root
  /** @type {(plane: HTMLCanvasElement, head: number, box?: any) => void} */
  const paintHead = (plane, head, box = null) => {
    const count = found.tokens.length, shares = attention.subarray(head * count ** 2, (head + 1) * count ** 2);
    paint(plane, shares.map((share) => 128 + Math.round(127 * Math.sqrt(share / 255))), count, count, { signed: true, box });
  };

  // rows of bytes, a token each, with the chosen row framed
  const drawRows = (name, values, width) => {
    const plane = canvas(name), count = found.tokens.length, { token } = chosen();
    paint(plane, bytes(values), width, count, { signed: true });
    const side = plane.height / count;
    framed(plane, 0, token * side - 1, plane.width, side + 2, "ink");
  };

  const grid = () => {
    const columns = Math.ceil(Math.sqrt(found.count)), side = canvas("layers").width / columns;
    return { columns, side, rows: Math.ceil(found.count / columns) };
  };
  const drawHeads = () => {
    const plane = canvas("layers"), { columns, side, rows } = grid(), { head } = chosen();
    plane.height = Math.round(rows * side);
    const context = blank(plane);
    for (let one = 0; one < found.count; one++) {
      const box = { x: (one % columns) * side + 3, y: Math.floor(one / columns) * side + 17, width: side - 6, height: side - 20 };
      paintHead(plane, one, box);
      context.fillStyle = colour("ink");
      context.fillText(`${words.head} ${one + 1}`, box.x, box.y - 4);
      if (one === head) framed(plane, box.x - 2, box.y - 2, box.width + 4, box.height + 4);
    }
  };

  const drawMatrix = () => {
    const plane = canvas("matrix"), { head, token } = chosen(), count = found.tokens.length, side = plane.height / count;
    paintHead(plane, head);
    framed(plane, 0, token * side - 1, (token + 1) * side + 1, side + 2);
  };

  const drawLines = () => {
    const plane = canvas("lines"), { head, token } = chosen(), count = found.tokens.length;
    const step = Math.max(12, Math.min(22, 620 / count));
    plane.height = Math.round(step * count + 24);
    const context = blank(plane), left = 118, right = plane.width - 118, y = (place) => 20 + step * (place + 0.5);
    context.fillStyle = colour("muted");
    context.textAlign = "right";
    context.fillText(words.keys, left - 6, 12);
    context.textAlign = "left";
    context.fillText(words.queries, right + 6, 12);
    context.strokeStyle = colour("accent");
    for (let query = 0; query < count; query++) {
      const row = weights(head, query), own = query === token;
      for (let key = 0; key <= query; key++) {
        const share = row[key] / 255;
        if (share < 0.02 || own) continue;
        context.globalAlpha = 0.35 * Math.sqrt(share);
        context.lineWidth = 1.5;
        context.beginPath();
        context.moveTo(right, y(query));
        context.lineTo(left, y(key));
        context.stroke();
      }
    }
    context.strokeStyle = colour("negative");
    weights(head, token).forEach((value, key) => {
      if (value < 3) return;
      context.globalAlpha = Math.sqrt(value / 255);
      context.lineWidth = 1 + 4 * value / 255;
      context.beginPath();
      context.moveTo(right, y(token));
      context.lineTo(left, y(key));
      context.stroke();
    });
    context.globalAlpha = 1;
    const cut = (name) => (name.length > 14 ? `${name.slice(0, 13)}…` : name);
    found.tokens.forEach(([, name], place) => {
      context.font = `${place === token ? "bold " : ""}${Math.min(12, step - 1)}px system-ui, sans-serif`;
      context.fillStyle = colour(place <= token ? "ink" : "muted");
      context.textAlign = "right";
      context.fillText(cut(name), left - 6, y(place) + 4, 110);
      context.textAlign = "left";
      context.fillText(cut(name), right + 6, y(place) + 4, 110);
    });
  };

  // the units of the MLP at the chosen token, as cells
  const drawUnits = () => {
    const { token } = chosen(), units = bytes(found.mlp).subarray(token * found.units, (token + 1) * found.units);
    let rows = Math.floor(Math.sqrt(found.units / 3));
    while (found.units % rows) rows--;
    paint(canvas("mlp"), units, found.units / rows, rows, { signed: true });
  };

  const drawCache = () => {
    const plane = canvas("cache"), { head } = chosen(), count = found.tokens.length, depth = found.depth;
    const group = Math.floor(head / (found.count / found.groups)), all = bytes(found.cache);
    const turned = new Uint8Array(count * depth);
    for (let token = 0; token < count; token++) {
      for (let place = 0; place < depth; place++) turned[place * count + token] = all[(group * count + token) * depth + place];
    }
    paint(plane, turned, count, depth, { signed: true });
    const side = plane.width / count;
    framed(plane, kept * side, 0, (count - kept) * side, plane.height);
    const tokens = count - kept, million = (value) => (value / 1e6).toFixed(1);
    show("cache", fill(words.cache, { kept, new: tokens, cached: million(tokens * found.products), whole: million(count * found.products),
      numbers: count * found.kept, difference: found.difference.toExponential(0) }));
  };

  // every head as a point: entropy, attention on the previous token
  const drawProfile = () => {
    const { head, layer } = chosen(), points = [...found.other, ...found.heads], place = (one) => [one[2], one[3]];
    if (!points.length) return;
    const most = 1.05 * Math.max(found.equal[0], ...points.map((one) => one[2]));
    const made = axes(plot("profile"), { x: { domain: [0, most], label: words.entropy }, y: { domain: [0, 1], label: words.previous, format: rounded } });
    dots(made, found.other.map(place), "muted", { size: 5, ring: true });
    found.heads.forEach((one) => dots(made, [place(one)], `class${one[0] % 6}`, { size: 5 }));
    dots(made, found.heads.filter((one) => one[0] === layer && one[1] === head).map(place), "ink", { size: 9, ring: true });
  };

  const tellHeads = () => {
    const table = document.createElement("table"), titles = ["layer", "head", "entropy", "previous", "first"];
    const row = (cells, kind) => {
      const line = table.insertRow();
      cells.forEach((cell) => {
        const item = document.createElement(kind);
        item.textContent = cell;
        line.append(item);
      });
    };
    row(titles.map((name) => words[name] ?? name), "th");
    found.heads.forEach(([layer, head, entropy, previous, first]) => {
      row([layer + 1, head + 1, entropy.toFixed(2), `${percent(previous)} %`, `${percent(first)} %`], "td");
    });
    part("stats").replaceChildren(table);
    const entropies = found.heads.map((one) => one[2]);
    show("heads", entropies.length ? fill(words.heads, { mean: (entropies.reduce((one, other) => one + other, 0) / entropies.length).toFixed(2),
      low: Math.min(...entropies).toFixed(2), high: Math.max(...entropies).toFixed(2), equal: found.equal[0].toFixed(2) }) : "");
  };

  const draw = () => {
    if (!found) return;
    const { token, head, layer } = chosen();
    drawTokens();
    drawRows("embedding", found.embedding, found.width);
    drawHeads();
    drawMatrix();
    drawLines();
    drawUnits();
    drawCache();
    drawProfile();
    const row = weights(head, token), best = [...row.keys()].sort((one, other) => row[other] - row[one]).slice(0, 3);
    show("attends", fill(words.attends, { layer: layer + 1, head: head + 1, token: quoted(text(token)),
      most: best.filter((key) => row[key] > 2).map((key) => `${quoted(text(key))} ${Math.round(100 * row[key] / 255)} %`).join(", ") }));
    show("active", fill(words.active, { layer: layer + 1, active: found.active[token], units: found.units,
      strongest: found.strongest[token].map(([unit, value]) => `${unit + 1}: ${value}`).join(", ") }));
  };

  // softmax with temperature, top-k and top-p, from the logits that the model sent
  const live = () => {
    if (!found) return null;
    const { all, drawn } = chances(logits, order, number("temperature"), number("topk"), number("topp"));
    const names = new Map(found.top), list = [...all.entries()].slice(0, SHOWN);
    const shares = [...drawn.values()], entropy = -shares.reduce((sum, share) => sum + (share > 0 ? share * Math.log2(share) : 0), 0);
    const full = found.tokens.length >= found.most;
    part("next").replaceChildren(...list.map(([id]) => {
      const item = document.createElement("li"), press = document.createElement("button");
      const bar = document.createElement("i"), name = document.createElement("span"), value = document.createElement("span");
      const share = drawn.get(id) ?? 0;
      press.type = "button";
      press.disabled = !share || full;
      bar.style.width = `${100 * share}%`;
      name.textContent = names.get(id) ?? id;
      value.textContent = `${percent(share, 2)} %`;
      press.setAttribute("aria-label", fill(words.append, { token: name.textContent, share: percent(share, 2) }));
      press.addEventListener("click", () => append(id));
      press.append(bar, name, value);
      item.append(press);
      return item;
    }));
    const [best, share] = [...drawn][0];
    show("likely", full ? fill(words.full, found) : fill(words.likely, { token: quoted(names.get(best)), share: percent(share, 2), count: drawn.size, entropy: entropy.toFixed(2) }));
    return drawn;
  };

  const look = async () => {
    const model = field("model").value, untrained = field("weights").value === "untrained";
    const answered = await ask({ model, text: field("text").value, more, untrained, layer: number("layer") - 1 });
    if (!answered) return;
    found = answered;
    attention = bytes(found.attention);
    logits = new Float32Array(bytes(found.logits).buffer);
    order = Uint32Array.from(logits.keys()).sort((one, other) => logits[other] - logits[one] || one - other);
    const ids = found.tokens.map(([id]) => id), by = `${model} ${untrained}`;
    if (String(ids) !== String(read) || by !== readBy) {
      let same = 0;
      while (by === readBy && same < read.length && read[same] === ids[same]) same++;
      kept = Math.min(same, ids.length - 1);
      limit("token", ids.length, ids.length);
      [read, readBy] = [ids, by];
    }
    limit("layer", found.layers);
    limit("head", found.count);
    tools.keep({ more });
    show("read", `${fill(words.read, { ...found, count: ids.length, parameters: found.parameters.toLocaleString() })} ${found.left ? fill(words.cut, { count: ids.length, left: found.left }) : ""}`);
    tellHeads();
    draw();
    live();
  };
  const append = async (id) => {
    more = [...more, id];
    await look();
    tools.say(fill(words.chosen, { token: quoted(found.tokens.at(-1)[1]) }));
  };
  const choose = (place) => {
    limit("token", found.tokens.length, Math.min(Math.max(place, 0), found.tokens.length - 1) + 1);
    draw();
  };
  const pick = (head) => {
    limit("head", found.count, Math.min(Math.max(head, 0), found.count - 1) + 1);
    draw();
  };
  const again = () => { more = []; return look(); };

  on("look", again);
  on("back", () => { more = more.slice(0, -1); return look(); });
  on("draw", () => {
    if (!found || found.tokens.length >= found.most) return;
    let left = Math.random();
    const drawn = [...live() ?? []];
    append((drawn.find(([, share]) => (left -= share) < 0) ?? drawn[0])[0]);
  });
  field("text").addEventListener("change", again);
  field("model").addEventListener("change", () => { limit("layer", 1, 1); return again(); });
  field("weights").addEventListener("change", look);
  field("layer").addEventListener("change", () => {
    if (number("layer") > (found?.layers ?? 1)) limit("layer", found.layers, found.layers);
    look();
  });
  for (const name of ["token", "head"]) field(name).addEventListener("input", draw);
  for (const name of ["temperature", "topk", "topp"]) field(name).addEventListener("input", live);
  canvas("layers").addEventListener("click", (event) => {
    const edge = event.target.getBoundingClientRect(), { columns, side } = grid(), scale = event.target.width / edge.width;
    pick(Math.floor((event.clientY - edge.top) * scale / side) * columns + Math.floor((event.clientX - edge.left) * scale / side));
  });
  const moved = (plane, act) => plane.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 }[event.key];
    if (!step || !found) return;
    act(step);
    event.preventDefault();
  });
  moved(canvas("layers"), (step) => pick(chosen().head + step));
  moved(canvas("lines"), (step) => choose(chosen().token + step));
  canvas("lines").addEventListener("click", (event) => {
    const edge = event.target.getBoundingClientRect(), step = (event.target.height - 24) / found.tokens.length;
    choose(Math.floor(((event.clientY - edge.top) * event.target.height / edge.height - 20) / step));
  });
  tools.repaint(draw);
  await look();
};
