// Shared by the scripts of plain pages: elements, what the server wrote, requests, the camera.
/** @type {(selector: string, within?: ParentNode) => any} */
export const $ = (selector, within = document) => within.querySelector(selector);
/** @type {(selector: string, within?: ParentNode) => any[]} */
export const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

/** @type {(kind: string, fields?: object, ...inside: (Node | string)[]) => any} */
export const make = (kind, fields = {}, ...inside) => {
  const made = Object.assign(document.createElement(kind), fields);
  made.append(...inside);
  return made;
};

// HTML of the server; the page's policy lets no script of it run
/** @type {(place: Element, html: string) => void} */
export const fill = (place, html) => {
  const read = new DOMParser().parseFromString(html, "text/html");
  place.replaceChildren(...read.body.childNodes);
};

// A text with {fields}
/** @type {(text: string, fields: Record<string, any>) => string} */
export const words = (text, fields) => text.replace(/\{(\w+)\}/g, (all, name) => fields[name] ?? all);

// The answer of an action (an object is sent as JSON) or of an upload (a Blob or text is sent as it is).
// An error's message is HTML.
/** @type {(address: string, body?: object | string) => Promise<any>} */
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
/** @param {string} html */
export const complain = (html) => {
  const wrong = document.getElementById("wrong");
  fill($("div", wrong), html);
  wrong.hidden = false;
};

// Files that are dropped on an element, which has the class "over" meanwhile
/** @type {(zone: HTMLElement, take: (data: any) => unknown) => void} */
export const dropped = (zone, take) => {
  for (const kind of /** @type {const} */ (["dragover", "dragleave", "drop"])) {
    zone.addEventListener(kind, (event) => {
      event.preventDefault();
      zone.classList.toggle("over", kind === "dragover");
      if (kind === "drop") take(event.dataTransfer);
    });
  }
};

// An image, a video or a bitmap on a canvas whose longer side has at most `most` pixels, on white
/** @type {(source: CanvasImageSource, width: number, height: number, most: number, least?: number) => HTMLCanvasElement} */
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
/** @param {HTMLCanvasElement} canvas */
export const encoded = (canvas) => canvas.toDataURL("image/jpeg", 0.95).split(",")[1];

// The camera in a video element, until `stopCamera`
/** @type {(video: HTMLVideoElement, wanted?: boolean | MediaTrackConstraints) => Promise<void>} */
export const startCamera = async (video, wanted = true) => {
  video.srcObject = await navigator.mediaDevices.getUserMedia({ video: wanted });
  video.hidden = false;
  await video.play();
};
/** @param {HTMLVideoElement} video */
export const stopCamera = (video) => {
  if (video.srcObject instanceof MediaStream) for (const track of video.srcObject.getTracks()) track.stop();
  [video.srcObject, video.hidden] = [null, true];
};

// The camera: the first press films into `video`, the second returns the picture (a canvas)
/** @type {(video: HTMLVideoElement) => Promise<HTMLCanvasElement | null>} */
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
/** @type {(error: Error, told: Record<string, string>) => string} */
export const deviceTrouble = (error, told) => {
  if (error.name === "NotAllowedError") return told.denied;
  return error.name === "NotFoundError" || !navigator.mediaDevices ? told.absent : error.message || told.failed;
};
