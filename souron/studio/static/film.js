// A film's frames, played one after the other: play and pause, a slider, buttons that go to a second.
export const player = (within, { frames, times }, words) => {
  const figure = within.querySelector("figure.film");
  if (!figure || !frames.length) return;
  const [image, button, slider, output] = ["img", "button", "input", "output"].map((kind) => figure.querySelector(kind));
  let [at, timer] = [0, 0];
  const show = (place) => {
    at = place;
    image.src = frames[at];
    slider.value = at;
    output.textContent = `${times[at].toFixed(1)} s`;
  };
  const pause = () => {
    clearTimeout(timer);
    timer = 0;
    button.textContent = words.play;
  };
  const next = () => {
    if (!figure.isConnected) return pause();
    const following = (at + 1) % frames.length;
    const wait = following ? times[following] - times[at] : 0.7;
    timer = setTimeout(() => { show(following); next(); }, 1000 * Math.min(2, Math.max(0.04, wait)));
  };
  const play = () => {
    button.textContent = words.pause;
    next();
  };
  slider.max = frames.length - 1;
  button.addEventListener("click", () => (timer ? pause() : play()));
  slider.addEventListener("input", () => { pause(); show(Number(slider.value)); });
  within.addEventListener("click", (event) => {
    const second = event.target.closest("[data-at]")?.dataset.at;
    if (second === undefined) return;
    pause();
    const place = times.findIndex((time) => time >= Number(second) - 0.001);
    show(place < 0 ? times.length - 1 : place);
  });
  show(0);
  if (frames.length > 1 && !matchMedia("(prefers-reduced-motion: reduce)").matches) play();
  else button.hidden = frames.length < 2;
};
