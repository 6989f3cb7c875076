// Shared by the scripts of plain pages: elements, what the server wrote, requests, the camera.
export const make = (kind, fields = {}, ...inside) => {
  const made = Object.assign(document.createElement(kind), fields);
  made.append(...inside);
  return made;
};

// HTML of the server; the page's policy lets no script of it run
export const fill = (place, html) => {
  const read = new DOMParser().parseFromString(html, "text/html");
  place.replaceChildren(...read.body.childNodes);
};

// A text with {fields}
export const words = (text, fields) => text.replace(/\{(\w+)\}/g, (all, name) => fields[name] ?? all);

// The answer of an action (an object is sent as JSON) or of an upload (a Blob or text is sent as it is).
// An error's message is HTML; `failed` is what is told where nothing answers.
export const ask = async (address, body, failed = "") => {
  const raw = body instanceof Blob || typeof body === "string";
  const sent = body === undefined ? {} : raw ? { method: "POST", body } : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  let answer;
  try {
    answer = await fetch(address, sent);
  } catch {
    throw new Error(failed);
  }
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.detail ?? failed);
  return told;
};

// An error in the corner of the page, where it stays until it is closed
export const complain = (html) => {
  const wrong = document.getElementById("wrong");
  fill(wrong.querySelector("div"), html);
  wrong.hidden = false;
};

// Files that are dropped on an element, which has the class "over" meanwhile
export const dropped = (zone, take) => {
  for (const kind of ["dragover", "dragleave", "drop"]) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer);
    });
  }
};

// The camera: the first press films into `video`, the second returns the picture (a canvas)
export const photograph = async (video) => {
  if (video.srcObject) {
    const canvas = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    canvas.getContext("2d").drawImage(video, 0, 0);
    for (const track of video.srcObject.getTracks()) track.stop();
    [video.srcObject, video.hidden] = [null, true];
    return canvas;
  }
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
  video.hidden = false;
  video.play();
  return null;
};
