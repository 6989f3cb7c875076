// The microphone: a recording as a WAV file, made here, so that the studio needs no decoder for it.
import { complain, deviceTrouble, words as filled } from "./plain.js";

const FULL = 32767; // of 16 bits
const LONGEST = 60; // seconds of a recording
const SHORTEST = 0.3;
const SILENT = 0.001; // largest sample of a silent recording

// `hear({seconds, level})` is called all the time; after `most` seconds it ends by itself.
// Returns {stop, done}; `done` is a promise of {blob, seconds, peak}. Rejects without a microphone.
export const record = async (most, hear) => {
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1 } });
  const context = new AudioContext();
  const blocks = [];
  let [length, peak, over] = [0, 0, false], resolve;
  const done = new Promise((found) => { resolve = found; });
  const stop = () => {
    if (over) return;
    over = true;
    for (const track of stream.getTracks()) track.stop();
    const found = { blob: wave(blocks, length, context.sampleRate), seconds: length / context.sampleRate, peak };
    context.close();
    resolve(found);
  };
  try {
    await context.audioWorklet.addModule("/static/recorder.js");
    await context.resume();
    const node = new AudioWorkletNode(context, "recorder", { channelCount: 1, channelCountMode: "explicit" });
    node.port.onmessage = ({ data }) => {
      if (over) return;
      blocks.push(data);
      length += data.length;
      const level = data.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
      peak = Math.max(peak, level);
      hear({ seconds: length / context.sampleRate, level });
      if (length >= most * context.sampleRate) stop();
    };
    context.createMediaStreamSource(stream).connect(node).connect(context.destination); // it sounds of nothing
    for (const track of stream.getTracks()) track.addEventListener("ended", stop); // unplugged
  } catch (error) {
    stop();
    throw error;
  }
  return { stop, done };
};

// Samples -1..1 of one channel as a WAV file of 16 bits
export const wave = (blocks, length, rate) => {
  const view = new DataView(new ArrayBuffer(44 + 2 * length));
  const text = (at, letters) => [...letters].forEach((letter, k) => view.setUint8(at + k, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + 2 * length, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  text(36, "data");
  view.setUint32(40, 2 * length, true);
  let at = 44;
  for (const block of blocks) {
    for (const sample of block) {
      view.setInt16(at, Math.round(FULL * Math.max(-1, Math.min(1, sample))), true);
      at += 2;
    }
  }
  return new Blob([view], { type: "audio/wav" });
};

// What the button of a microphone does: the first press records, the second gives the recording to
// `take`. `box` shows level and time meanwhile; `words` are the texts. Returns {press, stop}.
export const recorder = (box, button, words, take) => {
  let recording = null;
  const press = async () => {
    if (recording) return recording.stop?.();
    recording = {};
    try {
      recording = await record(LONGEST, ({ seconds, level }) => {
        box.querySelector("meter").value = level;
        box.querySelector("output").textContent = filled(words.seconds, { seconds: seconds.toFixed(1), most: LONGEST });
      });
      box.hidden = false;
      button.textContent = words.enough;
      button.setAttribute("aria-pressed", "true");
      const { blob, seconds, peak } = await recording.done;
      if (seconds < SHORTEST) complain(words.short);
      else if (peak < SILENT) complain(words.silent);
      else take(blob);
    } catch (error) {
      complain(deviceTrouble(error, words.microphone_trouble));
    }
    recording = null;
    box.hidden = true;
    button.textContent = words.microphone;
    button.setAttribute("aria-pressed", "false");
  };
  return { press, stop: () => recording?.stop?.() };
};
