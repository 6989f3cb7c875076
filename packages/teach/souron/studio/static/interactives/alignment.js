// Votes on pairs of answers; a policy that follows them; what it costs on questions never seen.
import { fill } from "./common.js";
import { bars, percent as rounded, series } from "./plot.js";

const CURVES = ["accuracy", "improper", "refusal"], FEATURES = ["rude", "dose", "defers", "defers_medical", "topic", "length"];

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, tools) => {
  const { ask, field, on, one, part, plot, show, words } = tools;
  let votes = [...(tools.kept.votes ?? [])], rest = tools.kept.rest ?? false, found = null;
  const percent = (value) => (100 * value).toFixed(1);

  const drawCurves = () => {
    const names = CURVES.map((name, row) => [words[name], `class${row}`, ["", "6 3", "2 3"][row]]);
    series(plot("curves"), CURVES.map((name) => found.history[name]), { step: words.votes, names, domain: [0, 1], format: rounded });
  };
  const drawWeights = () => {
    const most = Math.max(1, ...found.weights.map(Math.abs));
    const rows = FEATURES.map((name, row) => ({
      name: words[name], text: found.weights[row].toFixed(2).replace("-", "−"), bars: [[found.weights[row], found.weights[row] < 0 ? "negative" : "positive"]],
    }));
    bars(plot("weights"), rows, { domain: [-most, most], mark: 0 });
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
    series(plot("drift"), [found.history.kl], { step: words.votes, label: words.kl });
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
