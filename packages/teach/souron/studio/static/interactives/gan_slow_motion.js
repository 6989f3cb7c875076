// Each step of a GAN's two networks, one frame after the other.
import { bytes, clear, fill, paint } from "./common.js";
import { percent, series } from "./plot.js";

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, canvas, field, on, player, plot, show, words }) => {
  let found = null;
  const tiles = (name, values, signed = false) => {
    const plane = canvas(name), cells = found.side ** 2, count = values.length / cells;
    const columns = Math.ceil(Math.sqrt(count)), size = plane.width / columns;
    clear(plane);
    for (let i = 0; i < count; i++) {
      const box = { x: (i % columns) * size + 1, y: Math.floor(i / columns) * size + 1, width: size - 2, height: size - 2 };
      paint(plane, values.subarray(i * cells, (i + 1) * cells), found.side, found.side, { signed, box });
    }
  };
  const draw = (place) => {
    if (!found) return;
    const now = found.frames[place], before = found.frames[Math.max(0, place - 1)];
    tiles("real", bytes(found.real));
    tiles("drawn", bytes(now.drawn));
    const was = bytes(before.drawn);
    const change = now.who === "start" ? was.map(() => 128) : bytes(now.drawn).map((value, i) => Math.min(Math.max(128 + 4 * (value - was[i]), 0), 255));
    tiles("change", change, true);
    const trust = [0, 1].map((part) => found.frames.map((frame) => frame.trust[part]));
    series(plot("trust"), trust, { step: words.frames, at: place, domain: [0, 1], format: percent });
    const losses = { critic: [], generator: [] };
    let last = { critic: NaN, generator: NaN };
    for (const frame of found.frames) {
      last = { ...last, [frame.who]: frame.who === "start" ? undefined : frame.loss };
      for (const who of ["critic", "generator"]) losses[who].push(last[who] ?? NaN);
    }
    series(plot("loss"), [losses.critic, losses.generator], { step: words.frames, at: place });
    const share = (value) => (100 * value).toFixed(1);
    show("frame", fill(words.frame, { round: now.round, who: words[now.who], loss: now.who === "start" ? "–" : now.loss }));
    show("trust", fill(words.trust, { real: share(now.trust[0]), drawn: share(now.trust[1]), before: share(before.trust[1]) }));
  };
  const recording = player(draw);
  const learn = async () => {
    const answered = await ask({ seed: Number(field("seed").value) });
    if (!answered) return;
    found = answered;
    show("count", fill(words.count, found));
    recording.load(found.frames.length, false);
  };
  on("learn", learn);
  field("seed").addEventListener("change", learn);
  await learn();
};
