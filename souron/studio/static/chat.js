// The chat: Enter sends, Shift and Enter begin a new line; its end stays in view while it grows.
export const begin = (root) => {
  root.addEventListener("keydown", (event) => {
    const composing = event.isComposing || event.keyCode === 229; // Enter that ends a Japanese word, in Safari too
    if (!event.target.matches("#question textarea") || event.key !== "Enter" || event.shiftKey || composing) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });
  const bottom = () => root.querySelector("#talk").getBoundingClientRect().bottom;
  let seen = false;
  root.addEventListener("htmx:before:swap", () => { seen = bottom() <= innerHeight; });
  root.addEventListener("htmx:after:swap", () => {
    if (seen && bottom() > innerHeight) scrollBy(0, bottom() - innerHeight);
  });
};
