// What goes into a system: a photograph, a recording, a pasted or dropped file becomes a file of the
// form; what was chosen is shown; a mask is painted over an image.
import { $, $$, complain, deviceTrouble, dropped, make, photograph } from "./plain.js";
import { recorder } from "./microphone.js";
import { painted } from "./paint.js";

export const begin = (root) => {
  const words = JSON.parse(root.dataset.words);
  const main = $("input[name=given-files]", root);

  const put = (input, files) => {
    const carried = new DataTransfer();
    for (const file of files) carried.items.add(file);
    input.files = carried.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };

  // an image or a sound, where the browser can show it
  const preview = (file) => {
    const kind = { image: "img", audio: "audio", video: "video" }[file.type.split("/")[0]];
    const made = kind && make(kind, { src: URL.createObjectURL(file), alt: file.name, controls: true });
    made?.addEventListener("error", () => made.remove());
    return made;
  };

  const chosen = (input) => {
    const files = [...input.files];
    const place = input.closest(".field");
    if (place.nextElementSibling?.matches(".preview")) place.nextElementSibling.remove();
    const mask = $(`[data-paint="${input.name}"]`, root);
    const shown = files.slice(0, 1).map((file) => (mask ? painted(file, mask, put) : preview(file))).filter(Boolean);
    if (shown.length) place.after(make("div", { className: "preview" }, ...shown));
    const sample = $(".sample", root);
    if (input === main && sample) sample.hidden = files.length > 0;
  };

  const photo = async (button) => {
    try {
      const canvas = await photograph($("video", root));
      button.textContent = canvas ? words.camera : words.shoot;
      canvas?.toBlob((blob) => { if (blob) put(main, [new File([blob], "camera.jpg", { type: blob.type })]); }, "image/jpeg", 0.95);
    } catch (error) {
      complain(deviceTrouble(error, words.camera_trouble));
    }
  };

  for (const button of $$("[data-do=camera]", root)) button.addEventListener("click", () => photo(button));
  for (const button of $$("[data-do=microphone]", root)) {
    const microphone = recorder($(".recording", root), button, words, (blob) => {
      put(main, [new File([blob], "recording.wav", { type: blob.type })]);
    });
    button.addEventListener("click", microphone.press);
    addEventListener("pagehide", microphone.stop);
  }
  root.addEventListener("change", ({ target }) => { if (target.matches("input[type=file]")) chosen(target); });
  root.addEventListener("input", ({ target }) => {
    const output = target.type === "range" && target.nextElementSibling;
    if (output) output.textContent = target.value;
  });
  if (!main) return;
  dropped(main.closest(".field"), ({ files }) => put(main, files));
  root.ownerDocument.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files ?? [];
    if (root.isConnected && files.length) put(main, files);
  });
};
