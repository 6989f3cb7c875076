// Any file: each file goes to the studio on this computer, and its answer stands below the newest first.
import { ask, complain, dropped, fill, make, photograph } from "./plain.js";

export const begin = (root) => {
  const words = JSON.parse(root.dataset.words);
  const find = (selector, where = root) => where.querySelector(selector);
  const rows = []; // {item, cells}
  const status = find("[role=status]");
  let last = Promise.resolve();

  const show = (item, source, told) => {
    const place = find("div", item);
    fill(place, told.html);
    const named = words.answered.replace("{system}", told.name);
    find("h2", item).textContent = `${source.name} · ${told.what} · ${named}`;
    const others = find(".others", item);
    others.replaceChildren();
    if (told.others.length) {
      others.append(`${words.others} `);
      for (const [system, name] of told.others) {
        const button = make("button", { type: "button", textContent: name });
        button.addEventListener("click", () => answer(item, source, system));
        others.append(button, " ");
      }
    }
    others.append(make("a", { href: told.options, textContent: words.options.replace("{system}", told.name) }));
    const kept = rows.filter((row) => row.item !== item);
    rows.splice(0, rows.length, ...kept, ...told.rows.map((cells) => ({ item, cells: [...cells, told.name] })));
  };

  const answer = (item, source, system = "") => {
    item.classList.add("busy");
    status.textContent = words.busy;
    const query = new URLSearchParams({ name: source.name, system });
    const asked = last.then(() => source.sample
      ? ask(`/do/${root.dataset.page}/sample`, { sample: source.sample, system }, words.failed)
      : ask(`/send/${root.dataset.page}/file?${query}`, source.content, words.failed)); // one after the other
    last = asked.catch(() => {});
    return asked
      .then((told) => show(item, source, told), (error) => fill(find("div", item), error.message))
      .finally(() => {
        item.classList.remove("busy");
        status.textContent = words.done.replace("{count}", rows.length);
        find("[data-do=save]").hidden = !rows.length;
      });
  };

  const give = (source) => {
    const item = make("li", {}, make("h2", { textContent: source.name }), make("div"), make("p", { className: "others" }));
    find(".given").prepend(item);
    return answer(item, source);
  };
  const giveFiles = (files) => { for (const file of files) give({ name: file.name || "image.png", content: file }); };

  const film = async (button) => {
    try {
      const canvas = await photograph(find("video"));
      button.textContent = canvas ? words.camera : words.shoot;
      canvas?.toBlob((blob) => give({ name: "camera.jpg", content: blob }), "image/jpeg", 0.95);
    } catch (error) {
      complain(error.message);
    }
  };

  const quoted = (text) => `"${String(text).replaceAll('"', '""').replace(/^([=+\-@\t\r])/, "'$1")}"`;
  const save = () => {
    const lines = [[words.file, words.answer, words.system], ...rows.map((row) => row.cells)];
    const text = "\ufeff" + lines.map((line) => line.map(quoted).join(",")).join("\r\n") + "\r\n";
    const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "answers.csv" });
    link.click();
    URL.revokeObjectURL(link.href);
  };

  root.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const text = find("textarea").value.trim();
    if (button.dataset.sample) give({ name: button.dataset.sample, sample: button.dataset.sample });
    else if (button.dataset.do === "camera") film(button);
    else if (button.dataset.do === "save") save();
    else if (button.dataset.do === "text" && text) give({ name: "text.txt", content: text });
  });
  find("input[type=file]").addEventListener("change", (event) => {
    giveFiles(event.target.files);
    event.target.value = "";
  });
  dropped(find(".zone"), ({ files }) => giveFiles(files));
  addEventListener("paste", (event) => giveFiles(event.clipboardData.files));
};
