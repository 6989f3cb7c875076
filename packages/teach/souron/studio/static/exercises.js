// Results of a class: reads the students' files, has them summed up by the studio on this computer, saves the table.
import { ask, complain, dropped, fill, make, words } from "./plain.js";

export const begin = (root) => {
  const texts = JSON.parse(root.dataset.words);
  const find = (selector) => root.querySelector(selector);
  const tell = (text) => { find("[role=status]").textContent = text; };
  const save = find("[data-save]");
  /** @type {Blob | null} */
  let sent = null;
  let csv = "";

  const show = async () => {
    if (!sent) return;
    const names = find("[data-names]").checked ? "1" : "";
    try {
      const found = await ask(`/send/${root.dataset.page}/answers?${new URLSearchParams({ names })}`, sent);
      fill(find(".judged"), found.html);
      csv = found.csv;
      save.parentElement.hidden = false;
      tell("");
    } catch (error) {
      tell("");
      complain(error.message);
    }
  };

  const bring = async (files) => {
    if (!files.length) return;
    if (files.length > Number(root.dataset.most)) return tell(words(texts.many, { most: root.dataset.most }));
    tell(words(texts.reading, { count: files.length }));
    const read = [];
    for (const file of files) {
      try {
        read.push({ name: file.name, text: await file.text() });
      } catch {
        return tell(words(texts.unreadable, { file: file.name }));
      }
    }
    sent = new Blob([JSON.stringify({ files: read })]);
    await show();
  };

  find("input[type=file]").addEventListener("change", (event) => {
    bring([...event.target.files]);
    event.target.value = "";
  });
  find("[data-names]").addEventListener("change", show);
  dropped(find(".zone"), ({ files }) => bring([...files]));
  save.addEventListener("click", () => {
    // the mark at the beginning tells spreadsheets that this is UTF-8
    const link = make("a", { href: URL.createObjectURL(new Blob(["\ufeff", csv], { type: "text/csv" })), download: texts.csv });
    link.click();
    URL.revokeObjectURL(link.href);
  });
};
