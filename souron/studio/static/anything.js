// Any file: each file goes to the studio on this computer, and its answer stands below, the newest first.
import { complain, deviceTrouble, dropped, make, photograph, words as filled } from "./plain.js";
import { answers } from "./answers.js";
import { live } from "./live.js";
import { recorder } from "./microphone.js";

export const begin = (root) => {
  const words = JSON.parse(root.dataset.words);
  const find = (selector, where = root) => where.querySelector(selector);
  const status = find("[data-count]");
  const { give, rows } = answers(find(".given"), root.dataset.page, words, () => {
    status.textContent = filled(words.done, { count: rows.length });
    find("[data-do=save]").hidden = !rows.length;
  });
  const giveAll = (sources) => {
    if (sources.length) status.textContent = words.busy;
    give(sources);
  };
  const giveFiles = (files) => giveAll([...files].map((file) => ({ name: file.name || "image.png", content: file })));

  const film = async (button) => {
    try {
      const canvas = await photograph(find("video"));
      button.textContent = canvas ? words.camera : words.shoot;
      canvas?.toBlob((blob) => giveAll([{ name: "camera.jpg", content: blob }]), "image/jpeg", 0.95);
    } catch (error) {
      complain(deviceTrouble(error, words.camera_trouble));
    }
  };

  const microphone = recorder(find(".recording"), find("[data-do=microphone]"), words, (blob) => {
    giveAll([{ name: "recording.wav", content: blob }]);
  });

  const quoted = (text) => `"${String(text).replaceAll('"', '""').replace(/^([=+\-@\t\r])/, "'$1")}"`;
  const save = () => {
    const lines = [words.heads, ...rows.map((row) => row.cells)];
    const text = "\ufeff" + lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "answers.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  };

  const typed = () => {
    const text = find("textarea").value.trim();
    if (text) giveAll([{ name: "text.txt", content: text }]);
  };
  const DO = { camera: film, microphone: microphone.press, save, text: typed };
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.sample) giveAll([{ name: button.dataset.sample, sample: button.dataset.sample }]);
    else DO[button?.dataset.do]?.(button);
  });
  find("input[type=file]").addEventListener("change", (event) => {
    giveFiles(event.target.files);
    event.target.value = "";
  });
  dropped(find(".zone"), ({ files }) => giveFiles(files));
  addEventListener("paste", (event) => giveFiles(event.clipboardData?.files ?? []));
  addEventListener("pagehide", microphone.stop);
  live(find(".live"), find("[data-do=live]"), `/do/${root.dataset.page}`, words);
};
