// Votes on pairs of answers; a policy that follows them; what it costs on questions never seen.
import { fill, lines } from "./common.js";

const CURVES = ["accuracy", "improper", "refusal"], FEATURES = ["rude", "dose", "defers", "defers_medical", "topic", "length"];

export const start = async (root, tools) => {
  const { ask, canvas, colour, field, on, one, part, show, words } = tools;
  let votes = [...(tools.kept.votes ?? [])], rest = tools.kept.rest ?? false, found = null;
  const percent = (value) => (100 * value).toFixed(1);

  const blank = (plane) => {
    const context = plane.getContext("2d");
    context.fillStyle = colour("paper");
    context.fillRect(0, 0, plane.width, plane.height);
    context.font = "12px system-ui, sans-serif";
    context.textAlign = "left";
    return context;
  };
  const drawCurves = () => {
    const plane = canvas("curves"), context = blank(plane), left = 44, bottom = plane.height - 24, top = 30;
    const most = found.history.kl.length - 1, x = (vote) => left + (plane.width - left - 10) * vote / Math.max(1, most), y = (share) => bottom - (bottom - top) * share;
    context.lineWidth = 1;
    [0, 0.5, 1].forEach((share) => {
      context.strokeStyle = colour("muted");
      context.globalAlpha = 0.4;
      context.beginPath();
      context.moveTo(left, y(share));
      context.lineTo(plane.width - 8, y(share));
      context.stroke();
      context.globalAlpha = 1;
      context.fillStyle = colour("muted");
      context.textAlign = "right";
      context.fillText(`${100 * share} %`, left - 4, y(share) + 4);
    });
    context.fillText(`${most} ${words.votes}`, plane.width - 8, plane.height - 6);
    let from = left;
    CURVES.forEach((name, row) => {
      context.strokeStyle = context.fillStyle = colour(`class${row}`);
      context.lineWidth = 2.5;
      context.setLineDash([[], [7, 4], [2, 3]][row]);
      context.beginPath();
      found.history[name].forEach((share, vote) => context.lineTo(x(vote), y(share)));
      if (most === 0) context.lineTo(x(0) + 6, y(found.history[name][0]));
      context.stroke();
      context.beginPath();
      context.moveTo(from, 12);
      context.lineTo(from + 22, 12);
      context.stroke();
      context.textAlign = "left";
      context.fillStyle = colour("ink");
      context.fillText(words[name], from + 26, 16);
      from += 40 + context.measureText(words[name]).width;
    });
    context.setLineDash([]);
  };
  const drawWeights = () => {
    const plane = canvas("weights"), context = blank(plane), most = Math.max(1, ...found.weights.map(Math.abs)), middle = plane.width * 0.76, wide = plane.width * 0.2;
    FEATURES.forEach((name, row) => {
      const weight = found.weights[row], y = 6 + row * 30, size = wide * Math.abs(weight) / most;
      context.fillStyle = colour("ink");
      context.fillText(words[name], 4, y + 15, middle - wide - 10);
      context.fillStyle = colour(weight < 0 ? "negative" : "positive");
      context.fillRect(weight < 0 ? middle - size : middle, y, size, 20);
      context.fillStyle = colour("ink");
      context.textAlign = weight < 0 ? "left" : "right";
      context.fillText(weight.toFixed(2).replace("-", "−"), weight < 0 ? middle + 4 : middle - 4, y + 15);
      context.textAlign = "left";
    });
    context.strokeStyle = colour("muted");
    context.lineWidth = 1;
    context.beginPath();
    context.moveTo(middle, 0);
    context.lineTo(middle, plane.height);
    context.stroke();
  };
  const drawExamples = () => {
    part("examples").replaceChildren(...found.examples.flatMap(([prompt, ...answers]) => {
      const title = Object.assign(document.createElement("h4"), { textContent: prompt }), table = document.createElement("table");
      const row = (cells, kind) => {
        const line = table.insertRow();
        cells.forEach((cell) => line.append(Object.assign(document.createElement(kind), { textContent: cell })));
      };
      row([words.answer, words.before, words.after], "th");
      answers.forEach(([text, before, after]) => row([text, `${percent(before)} %`, `${percent(after)} %`], "td"));
      return [title, table];
    }));
  };
  const draw = () => {
    if (!found) return;
    drawCurves();
    lines(canvas("drift"), [found.history.kl]);
    drawWeights();
    drawExamples();
    const place = found.votes.length, ended = place >= found.pairs.length;
    const [prompt, ...answers] = found.pairs[Math.min(place, found.pairs.length - 1)];
    show("question", ended ? fill(words.ended, { count: found.pairs.length }) : fill(words.vote, { number: place + 1, count: found.pairs.length }));
    show("prompt", ended ? "" : prompt);
    ["a", "b"].forEach((does, which) => {
      const press = one(`[data-do="${does}"]`);
      press.textContent = answers[which];
      press.setAttribute("aria-label", fill(words.prefer, { text: answers[which] }));
      press.hidden = ended;
    });
    one('[data-do="rest"]').disabled = ended;
    one('[data-do="back"]').disabled = place === 0;
    const last = (name) => found.history[name].at(-1);
    show("now", fill(words.now, { votes: place, held: found.held, accuracy: percent(last("accuracy")), improper: percent(last("improper")),
      refusal: percent(last("refusal")), kl: last("kl").toFixed(3) }));
  };
  const look = async () => {
    const answered = await ask({ votes, beta: Number(field("beta").value), voter: rest ? field("voter").value : "careful", rest });
    if (!answered) return;
    found = answered;
    tools.keep({ votes, rest });
    draw();
  };
  const vote = (which) => {
    if (!found || rest || votes.length >= found.pairs.length) return null;
    votes = [...votes, which];
    return look();
  };
  on("a", () => vote(0));
  on("b", () => vote(1));
  on("rest", () => { rest = true; return look(); });
  on("back", () => {
    if (rest) rest = false;
    else votes = votes.slice(0, -1);
    return look();
  });
  on("again", () => { votes = []; rest = false; return look(); });
  field("beta").addEventListener("change", look);
  field("voter").addEventListener("change", () => { if (rest) look(); });
  tools.repaint(draw);
  await look();
};
