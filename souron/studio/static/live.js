// The camera, answered again and again by one system: a frame goes to the studio on this computer, and
// the next one once that is answered.
import { ask, complain, deviceTrouble, encoded, fill, make, reduced, startCamera, stopCamera, words as filled } from "./plain.js";

const SIDE = 640; // pixels of a frame's longer side
const PAUSE = 30; // milliseconds, so that the page stays quick

export const live = (box, button, address, words) => {
  const [video, select, place, status] = ["video", "select", ".now", "[role=status]"].map((one) => box.querySelector(one));
  let running = null;

  const stop = () => {
    if (running) running.on = false;
    running = null;
    stopCamera(video);
    box.hidden = true;
    button.textContent = words.live;
    button.setAttribute("aria-pressed", "false");
  };

  const loop = async (mine) => {
    while (mine.on) {
      if (document.hidden || !video.videoWidth) {
        await new Promise((go) => setTimeout(go, 200));
        continue;
      }
      const begun = performance.now();
      const image = encoded(reduced(video, video.videoWidth, video.videoHeight, SIDE, 8));
      const told = await ask(`${address}/frame`, { image, system: select.value });
      if (!mine.on) return;
      fill(place, told.html);
      const each = (1000 / (performance.now() - begun)).toFixed(1);
      status.textContent = filled(words.rate, { count: each });
      await new Promise((go) => setTimeout(go, PAUSE));
    }
  };

  const start = async () => {
    const mine = running = { on: true };
    button.textContent = words.off;
    button.setAttribute("aria-pressed", "true");
    try {
      if (!select.options.length) {
        const { systems } = await ask(`${address}/cameras`, {});
        select.replaceChildren(...systems.map(([value, textContent]) => make("option", { value, textContent })));
      }
      if (!mine.on) return;
      box.hidden = false;
      place.replaceChildren(words.busy);
      await startCamera(video);
      if (!mine.on) return stopCamera(video);
      await loop(mine);
    } catch (error) {
      if (!mine.on) return;
      stop();
      complain(error instanceof DOMException || error instanceof TypeError ? deviceTrouble(error, words.camera_trouble) : error.message);
    }
  };

  button.addEventListener("click", () => (running ? stop() : start()));
  addEventListener("pagehide", stop);
};
