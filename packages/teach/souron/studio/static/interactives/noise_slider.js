// Noise there by a slider, back by the network, stop by stop.
import { bytes, fill, paint } from "./common.js";

// the picture with noise at a stop of the slider, 0 to 100, as Python mixes it
export const mixed = ({ clean, noise, kept }, stop) => {
  const all = new Int16Array(bytes(noise).buffer), signal = Math.sqrt(kept[stop]), spread = Math.sqrt(1 - kept[stop]) / 6000;
  return bytes(clean).map((value, i) => Math.min(Math.max(Math.round((signal * (value / 127.5 - 1) + spread * all[i] + 1) * 127.5), 0), 255));
};

/** @type {import("../../types.d.ts").Start} */
export const start = async (_root, { ask, canvas, field, keep, kept, on, player, show, words }) => {
  if (!field("noise")) return;
  let found = null;
  const put = (name, text) => paint(canvas(name), bytes(text), found.side, found.side);
  const tell = (stop) => {
    const step = Math.round(stop / 100 * (found.steps - 1)) + 1;
    show("step", fill(words.step, { step, steps: found.steps, share: Math.round(100 * (1 - found.kept[stop])) }));
  };
  const forget = () => {
    for (const name of ["drawn", "seen"]) canvas(name).getContext("2d").clearRect(0, 0, 999, 999);
    show("back", "");
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
    tell(Number(field("noise").value));
    if (back) {
      show("back", fill(words.back, found));
      recording.load(found.way.length);
    } else {
      forget();
      recording.stop();
    }
  };
  field("noise").addEventListener("input", () => {
    if (!found) return;
    const stop = Number(field("noise").value);
    recording.stop();
    found.way = null;
    paint(canvas("noisy"), mixed(found, stop), found.side, found.side);
    tell(stop);
    forget();
  });
  for (const name of ["picture", "noise", "seed"]) field(name).addEventListener("change", () => look(false));
  on("back", () => look(true));
  await look(kept.back === true);
};
