// Noise there by a slider, back by the network, stop by stop.
import { bytes, fill, paint } from "./common.js";

export const start = async (root, { ask, canvas, field, keep, kept, on, player, show, words }) => {
  if (!field("noise")) return;
  let found = null;
  const put = (name, text) => {
    paint(canvas(name), bytes(text), found.side, found.side);
  };
  const recording = player((place) => {
    if (!found?.way) return;
    put("drawn", found.way[place]);
    put("seen", found.seen[place]);
  });
  const look = async (back) => {
    keep({ back });
    const answered = await ask({
      picture: Number(field("picture").value), noise: Number(field("noise").value) / 100,
      seed: Number(field("seed").value), back,
    });
    if (!answered) return;
    found = answered;
    put("clean", found.clean);
    put("noisy", found.noisy);
    show("step", fill(words.step, { step: found.step, steps: found.steps, share: Math.round(100 * found.share) }));
    for (const name of back ? [] : ["drawn", "seen"]) canvas(name).getContext("2d").clearRect(0, 0, 999, 999);
    show("back", back ? fill(words.back, found) : "");
    if (back) recording.load(found.way.length);
    else recording.stop();
  };
  for (const name of ["picture", "noise", "seed"]) field(name).addEventListener("change", () => look(false));
  on("back", () => look(true));
  await look(kept.back === true);
};
