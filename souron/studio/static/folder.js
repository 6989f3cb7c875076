// A folder that somebody chooses or drops becomes one zip here in the browser, since Gradio's upload
// does not say in which folder a file lay. The zip goes the way of every upload.
"use strict";

const MOST = 65535; // files that a plain zip can list
const DAY = 33; // 1980-01-01, as zips write it
const UTF8 = 0x800;
const REMAINDERS = Uint32Array.from({ length: 256 }, (_, number) => {
  for (let bit = 0; bit < 8; bit++) number = number & 1 ? 0xedb88320 ^ (number >>> 1) : number >>> 1;
  return number;
});

// [value, bytes] pairs as little-endian numbers
const numbers = (...pairs) => {
  const view = new DataView(new ArrayBuffer(pairs.reduce((sum, [, size]) => sum + size, 0)));
  let at = 0;
  for (const [value, size] of pairs) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return view.buffer;
};

const checksum = async (file) => {
  let sum = 0xffffffff;
  const reader = file.stream().getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return (sum ^ 0xffffffff) >>> 0;
    for (let i = 0; i < value.length; i++) sum = REMAINDERS[(sum ^ value[i]) & 255] ^ (sum >>> 8);
  }
};

// [name, File] pairs as a zip that compresses nothing; the files themselves are not held in memory
const zipped = async (files, tell) => {
  const parts = [], listed = [];
  let at = 0, done = 0;
  for (const [path, file] of files) {
    const name = new TextEncoder().encode(path);
    const sizes = [[await checksum(file), 4], [file.size, 4], [file.size, 4], [name.length, 2], [0, 2]];
    const how = [[20, 2], [UTF8, 2], [0, 2], [0, 2], [DAY, 2], ...sizes];
    const head = numbers([0x04034b50, 4], ...how);
    listed.push(numbers([0x02014b50, 4], [20, 2], ...how, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]), name);
    parts.push(head, name, file);
    at += head.byteLength + name.length + file.size;
    tell(++done, files.length);
  }
  const size = new Blob(listed).size, count = files.length;
  const end = numbers([0x06054b50, 4], [0, 2], [0, 2], [count, 2], [count, 2], [size, 4], [at, 4], [0, 2]);
  return new Blob([...parts, ...listed, end], { type: "application/zip" });
};

// what a dropped folder holds
const below = async function* (entry, path) {
  if (entry.isFile) {
    yield [path + entry.name, await new Promise((give, fail) => entry.file(give, fail))];
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const some = await new Promise((give, fail) => reader.readEntries(give, fail));
    if (!some.length) return;
    for (const each of some) yield* below(each, `${path}${entry.name}/`);
  }
};

const visible = ([path]) => !path.split("/").some((part) => part.startsWith("."));

// hand the files to the upload beside the button, as if somebody had chosen a zip there
const take = async (button, gather) => {
  const says = button.parentElement.querySelector("[role=status]");
  button.disabled = true;
  try {
    const files = [];
    for await (const each of gather()) if (visible(each)) files.push(each);
    const input = document.querySelector(`${button.dataset.folder} input[type=file]`);
    if (!input || !files.length || files.length > MOST) {
      says.textContent = files.length > MOST ? button.dataset.many : button.dataset.none;
      return;
    }
    const tell = (done, all) => {
      if (done % 100 === 0 || done === all) {
        says.textContent = button.dataset.packing.replace("{done}", done).replace("{all}", all);
      }
    };
    const zip = await zipped(files, tell);
    const carrier = new DataTransfer();
    carrier.items.add(new File([zip], `${files[0][0].split("/")[0]}.zip`, { type: zip.type }));
    input.files = carrier.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
    says.textContent = "";
  } catch (error) {
    says.textContent = `${button.dataset.failed} ${error.message}`;
  } finally {
    button.disabled = false;
  }
};

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-folder]");
  if (!button) return;
  const input = Object.assign(document.createElement("input"), { type: "file", webkitdirectory: true });
  input.addEventListener("change", () =>
    take(button, () => [...input.files].map((file) => [file.webkitRelativePath || file.name, file])));
  input.click();
});

document.addEventListener("drop", (event) => {
  const button = document.querySelector("button[data-folder]");
  if (!button || !event.target.closest?.(button.dataset.folder)) return;
  const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return; // files go their own way
  event.preventDefault();
  event.stopImmediatePropagation();
  event.target.dispatchEvent(new DragEvent("dragleave", { bubbles: true }));
  take(button, async function* () {
    for (const entry of entries) yield* below(entry, "");
  });
}, true);
