// Shared by the scripts of plain pages: elements, what the server wrote, requests, the camera.
export const $ = (selector, within = document) => within.querySelector(selector);
export const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

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
// An error's message is HTML.
export const ask = async (address, body) => {
  const raw = body instanceof Blob || typeof body === "string";
  const sent = body === undefined ? {} : raw ? { method: "POST", body } : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  };
  const { unanswered } = document.getElementById("wrong").dataset; // what is told where nothing answers
  const answer = await fetch(address, sent).catch(() => { throw new Error(unanswered); });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(told.detail ?? unanswered);
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

// An image, a video or a bitmap on a canvas whose longer side has at most `most` pixels, on white
export const reduced = (source, width, height, most, least = 1) => {
  const scale = Math.min(1, most / Math.max(width, height));
  const [across, down] = [width, height].map((side) => Math.max(least, Math.round(side * scale)));
  const canvas = make("canvas", { width: across, height: down });
  const draw = canvas.getContext("2d");
  draw.fillStyle = "#fff";
  draw.fillRect(0, 0, across, down);
  draw.imageSmoothingQuality = "high";
  draw.drawImage(source, 0, 0, across, down);
  return canvas;
};

// A canvas as JPEG in base64, for a request in JSON
export const encoded = (canvas) => canvas.toDataURL("image/jpeg", 0.95).split(",")[1];

// The camera in a video element, until `stopCamera`
export const startCamera = async (video, wanted = true) => {
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
  video.hidden = false;
  await video.play();
};
export const stopCamera = (video) => {
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  [video.srcObject, video.hidden] = [null, true];
};

// The camera: the first press films into `video`, the second returns the picture (a canvas)
export const photograph = async (video) => {
  if (!video.srcObject) {
    await startCamera(video);
    return null;
  }
  const canvas = reduced(video, video.videoWidth, video.videoHeight, Infinity);
  stopCamera(video);
  return canvas;
};

// Why a camera or a microphone does not answer; `told` has the texts {denied, absent, failed}
export const deviceTrouble = (error, told) => {
  if (error.name === "NotAllowedError") return told.denied;
  return error.name === "NotFoundError" || !navigator.mediaDevices ? told.absent : error.message || told.failed;
};
