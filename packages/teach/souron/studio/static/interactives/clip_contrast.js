// CLIP's matrix: both softmaxes, the contrastive loss, and the pull of a cell on its two vectors.
import { bytes, clear, context2d, fill } from "./common.js";
import { ownImage } from "./own_image.js";


const softmax = (logits) => {
  const most = Math.max(...logits), all = logits.map((value) => Math.exp(value - most));
  const sum = all.reduce((before, value) => before + value, 0);
  return all.map((value) => value / sum);
};
const turned = (matrix) => matrix[0].map((_, j) => matrix.map((row) => row[j]));
const mean = (values) => values.reduce((before, value) => before + value, 0) / values.length;

// the loss of the first ``count`` pairs and its gradient's coefficients: of t_j for image k, cell by cell
const contrast = (cosine, scale, count) => {
  const logits = cosine.slice(0, count).map((row) => row.slice(0, count).map((value) => scale * value));
  const rows = logits.map(softmax), columns = turned(turned(logits).map(softmax));
  const ofRows = mean(rows.map((row, k) => -Math.log(row[k]))), ofColumns = mean(columns.map((row, k) => -Math.log(row[k])));
  const pull = rows.map((row, k) => row.map((share, j) => scale / (2 * count) * ((j === k ? 2 : 0) - share - columns[k][j])));
  return { rows: ofRows, columns: ofColumns, loss: (ofRows + ofColumns) / 2, pull };
};

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, tools) => {
  const { ask, canvas, colour, field, keep, kept, on, part, repaint, say, show, words } = tools;
  if (!field("model")) return;
  const plane = canvas("plane");
  let about = null, tiles = [], taken = kept.taken ?? [0, 1, 2, 3], found = null, cell = { image: 1, text: 2 };

  const size = () => about.side;
  const rgba = (rgb, count) => {
    const all = new Uint8ClampedArray(4 * count);
    for (let i = 0; i < count; i++) all.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
    return all;
  };
  const picture = (tile, edge = 64) => {
    const small = document.createElement("canvas");
    [small.width, small.height] = [tile.width, tile.height];
    context2d(small).putImageData(new ImageData(rgba(tile.pixels, tile.width * tile.height), tile.width, tile.height), 0, 0);
    const shown = document.createElement("canvas"), short = Math.min(tile.width, tile.height);
    shown.width = shown.height = edge;
    context2d(shown).drawImage(small, (tile.width - short) / 2, (tile.height - short) / 2, short, short, 0, 0, edge, edge);
    shown.setAttribute("role", "img");
    return shown;
  };
  const drawTiles = () => {
    part("images").replaceChildren(...tiles.map((tile, i) => {
      const item = document.createElement("li"), button = document.createElement("button"), under = document.createElement("small");
      button.type = "button";
      button.setAttribute("aria-pressed", String(taken.includes(i)));
      const shown = picture(tile, 84), number = taken.indexOf(i);
      shown.setAttribute("aria-label", tile.name);
      under.textContent = number < 0 ? "–" : fill(words.image, { number: number + 1 });
      button.append(shown);
      item.append(button, under);
      button.addEventListener("click", () => {
        if (taken.includes(i)) taken = taken.filter((each) => each !== i);
        else if (taken.length < about.most) taken = [...taken, i].sort((a, b) => a - b);
        else { say(fill(words.most, { most: about.most })); return; }
        keep({ taken: taken.filter((each) => each < about.examples.length) });
        drawTiles();
        part("images").querySelectorAll("button")[i].focus();
        compare();
      });
      return item;
    }));
  };

  const texts = () => Array.from({ length: about.most }, (_, i) => field(`text${i}`).value.trim()).filter(Boolean);
  const compare = async () => {
    found = null;
    if (taken.length && texts().length) {
      const images = taken.map((i) => (i < about.examples.length ? i : { width: tiles[i].width, height: tiles[i].height, rgb: tiles[i].rgb }));
      found = await ask({ model: field("model").value, images, texts: texts() });
    } else say(words.none);
    if (found && (cell.image >= found.cosine.length || cell.text >= found.cosine[0].length)) cell = { image: 0, text: 0 };
    draw();
  };
  const scale = () => (field("own").checked ? found.scale : 1 / Number(field("temperature").value));
  const paired = () => Math.min(found.cosine.length, found.cosine[0].length);

  const draw = () => {
    if (!found) {
      part("matrix").replaceChildren();
      for (const name of ["loss", "read", "pull", "zero"]) show(name, "");
      clear(plane);
      return;
    }
    const logits = found.cosine.map((row) => row.map((value) => scale() * value));
    const shares = { rows: logits.map(softmax), columns: turned(turned(logits).map(softmax)), cosine: found.cosine };
    drawMatrix(shares);
    const count = paired(), loss = count > 1 ? contrast(found.cosine, scale(), count) : null;
    show("loss", loss
      ? fill(words.loss, { count, loss: loss.loss.toFixed(4), rows: loss.rows.toFixed(4), columns: loss.columns.toFixed(4), chance: Math.log(count).toFixed(4) })
      : words["no loss"]);
    drawCell(shares, loss);
    const list = document.createElement("ul");
    shares.rows.forEach((row, k) => {
      const best = row.indexOf(Math.max(...row)), item = document.createElement("li");
      item.textContent = fill(words.zero, { image: k + 1, text: `${best + 1} (${texts()[best]})`, share: (100 * row[best]).toFixed(1) });
      list.append(item);
    });
    part("zero").replaceChildren(list);
  };
  const drawMatrix = (shares) => {
    const kind = field("shown").value, values = shares[kind], body = document.createElement("table"), top = document.createElement("tr");
    const most = Math.max(...values.flat(), 1e-9);
    const heading = (content, scope) => {
      const head = document.createElement("th");
      head.scope = scope;
      head.append(content);
      return head;
    };
    top.append(document.createElement("td"), ...values[0].map((_, j) => {
      const head = heading(String(j + 1), "col");
      head.title = texts()[j];
      head.setAttribute("aria-label", fill(words.sentence, { number: j + 1 }));
      return head;
    }));
    body.append(top, ...values.map((row, k) => {
      const line = document.createElement("tr"), shown = picture(tiles[taken[k]], 36);
      shown.setAttribute("aria-label", fill(words.image, { number: k + 1 }));
      line.append(heading(shown, "row"), ...row.map((value, j) => {
        const item = document.createElement("td"), button = document.createElement("button");
        const text = kind === "cosine" ? value.toFixed(2) : `${(100 * value).toFixed(0)} %`;
        button.type = "button";
        button.textContent = text;
        button.dataset.cell = `${k},${j}`;
        button.setAttribute("aria-label", fill(words.cell, { image: k + 1, text: j + 1, value: text }));
        button.setAttribute("aria-pressed", String(k === cell.image && j === cell.text));
        button.style.setProperty("--share", `${Math.round(70 * Math.max(0, value) / most)}%`);
        button.addEventListener("click", () => {
          cell = { image: k, text: j };
          draw();
          part("matrix").querySelector(`[data-cell="${k},${j}"]`).focus();
        });
        item.append(button);
        return item;
      }));
      return line;
    }));
    part("matrix").replaceChildren(body);
  };

  // i_k and t_j lie on the unit circle of the plane that they span; pulls are shown in this plane
  const drawCell = (shares, loss) => {
    const { image: k, text: j } = cell, cosine = found.cosine[k][j], sine = Math.sqrt(Math.max(1 - cosine ** 2, 1e-12));
    const percent = (share) => (100 * share).toFixed(1);
    show("read", fill(words.read, { image: k + 1, text: j + 1, cosine: cosine.toFixed(4), row: percent(shares.rows[k][j]), column: percent(shares.columns[k][j]) }));
    const count = loss ? paired() : 0, with_ = k < count && j < count;
    const context = plane.getContext("2d"), middle = plane.width / 2, radius = 0.36 * plane.width;
    clear(plane);
    context.strokeStyle = colour("muted");
    context.lineWidth = 1;
    context.beginPath();
    context.arc(middle, middle, radius, 0, 2 * Math.PI);
    context.stroke();
    const half = Math.acos(cosine) / 2, turn = Math.PI / 2;
    const image = [Math.cos(turn + half), Math.sin(turn + half)], text = [Math.cos(turn - half), Math.sin(turn - half)];
    const spot = ([x, y]) => [middle + radius * x, middle - radius * y];
    const line = (from, to, tint, width, dashed = false) => {
      const [x, y] = spot(from), [u, v] = spot(to), angle = Math.atan2(v - y, u - x);
      context.strokeStyle = tint;
      context.lineWidth = width;
      context.setLineDash(dashed ? [5, 4] : []);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(u, v);
      context.setLineDash([]);
      if (Math.hypot(u - x, v - y) > 4) {
        for (const side of [2.6, -2.6]) {
          context.moveTo(u, v);
          context.lineTo(u + 8 * Math.cos(angle + side), v + 8 * Math.sin(angle + side));
        }
      }
      context.stroke();
    };
    line([0, 0], image, colour("ink"), 2);
    line([0, 0], text, colour("class1"), 2);
    context.font = "13px system-ui, sans-serif";
    for (const [at, name, tint, side] of [[image, fill(words.image, { number: k + 1 }), "ink", -1], [text, fill(words.sentence, { number: j + 1 }), "class1", 1]]) {
      const [x, y] = spot([1.14 * at[0], 1.14 * at[1]]), wide = context.measureText(name).width, left = side < 0 ? x + 6 - wide : x - 6;
      context.fillStyle = colour(tint);
      context.fillText(name, Math.min(Math.max(left, 2), plane.width - wide - 2), y);
    }
    if (!with_) { show("pull", loss ? fill(words.unpaired, { image: k + 1, text: j + 1 }) : ""); return; }
    const pull = loss.pull[k][j];
    // of image k: sum over m of pull[k][m] t_m, without what points along i_k; in the plane, along w = (t_j - cosine i_k) / sine
    const along = loss.pull[k].reduce((sum, value, m) => sum + value * (found.texts[m][j] - cosine * found.cosine[k][m]) / sine, 0);
    const square = loss.pull[k].reduce((sum, a, m) => sum + loss.pull[k].reduce((inner, b, n) => inner + a * b * (found.texts[m][n] - found.cosine[k][m] * found.cosine[k][n]), 0), 0);
    const whole = Math.sqrt(Math.max(square, 0)), own = pull * sine;
    const far = (value) => 0.9 * Math.sign(value) * Math.sqrt(Math.abs(value) * count / scale());
    const towards = [(text[0] - cosine * image[0]) / sine, (text[1] - cosine * image[1]) / sine];
    const back = [(image[0] - cosine * text[0]) / sine, (image[1] - cosine * text[1]) / sine];
    const step = (from, way, length) => [from[0] + far(length) * way[0], from[1] + far(length) * way[1]];
    line(image, step(image, towards, along), colour("muted"), 2, true);
    line(image, step(image, towards, own), colour("ink"), 4);
    line(text, step(text, back, own), colour("class1"), 4);
    const said = pull >= 0 ? words.together : words.apart;
    show("pull", `${fill(said, { pull: Math.abs(own).toFixed(4), whole: whole.toFixed(4) })} (${words.vector})`);
  };

  const add = async (file) => {
    const image = await ownImage(file);
    if (!image) { say(words.unread); return; }
    tiles.push({ ...image, name: fill(words.own, { number: tiles.length - about.examples.length + 1 }) });
    if (taken.length < about.most) taken.push(tiles.length - 1);
  };
  part("photo").addEventListener("change", async (event) => {
    for (const file of [...event.target.files].slice(0, 2 * about.most)) await add(file);
    drawTiles();
    await compare();
  });
  on("compare", compare);
  field("model").addEventListener("change", compare);
  for (let i = 0; field(`text${i}`); i++) field(`text${i}`).addEventListener("change", compare);
  field("shown").addEventListener("change", () => draw());
  field("own").addEventListener("change", () => draw());
  field("temperature").addEventListener("input", () => { field("own").checked = false; draw(); });

  repaint(() => draw());

  about = await ask({ model: field("model").value });
  if (!about) return;
  tiles = about.examples.map((text, i) => ({ width: size(), height: size(), pixels: bytes(text), name: fill(words.image, { number: i + 1 }) }));
  taken = taken.filter((i) => Number.isInteger(i) && i >= 0 && i < tiles.length).slice(0, about.most);
  drawTiles();
  await compare();
};
