// Teach it yourself: pictures are made small here, and sent to the studio on this computer alone.
import { ask as askServer, dropped, make, reduced, startCamera, stopCamera, words as filled } from "./plain.js";

const SIDE = 320; // pixels of a picture's longer side
const OFTEN = 200; // milliseconds between two pictures of the camera
const WANTED = { width: 640, height: 480 }; // pixels of the camera's picture
const MOST_FILMED = 60; // pictures of one take

export const begin = (root) => {
  const said = JSON.parse(root.dataset.words);
  const most = Number(root.dataset.most), longest = Number(root.dataset.longest);
  const find = (selector, where = root) => where.querySelector(selector);

  const classes = []; // {box, name, person, pictures: [{number, person, url}]}
  let session = null, known = "", filming = null, live = null, learnt = [], checks = 0, kept = true;
  let numbers = 0;

  const complain = (text) => {
    const wrong = find(".wrong");
    wrong.textContent = text;
    wrong.hidden = !text;
  };

  const ask = async (what, body) => {
    const here = `/teach/${root.dataset.language}`;
    session ??= askServer(`${here}/begin`, {}).then((answer) => known = answer.id);
    return askServer(`${here}/${await session}/${what}`, body);
  };

  // a file or the camera's picture, small, as JPEG; what it shows is kept, where it was made is not
  const small = (source, width, height) =>
    new Promise((done) => reduced(source, width, height, SIDE, 8).toBlob(done, "image/jpeg", 0.92));

  const opened = async (file) => {
    try {
      const picture = await createImageBitmap(file);
      const blob = await small(picture, picture.width, picture.height);
      picture.close();
      return blob;
    } catch {
      throw new Error(filled(said.no_picture, { file: file.name }));
    }
  };

  const count = (one) => {
    const people = new Map();
    for (const picture of one.pictures) people.set(picture.person, (people.get(picture.person) ?? 0) + 1);
    const whose = [...people].filter(([person]) => person)
      .map(([person, number]) => `${filled(said.of, { person })}: ${number}`);
    find(".count", one.box).textContent =
      [filled(said.count, { count: one.pictures.length }), ...whose].join(" · ");
  };

  const add = async (one, blob) => {
    const picture = { number: 0, person: one.person.value.trim(), url: URL.createObjectURL(blob) };
    one.pictures.push(picture);
    kept = false;
    const place = one.pictures.length;
    const image = make("img", { src: picture.url, alt: "" });
    const button = make("button", { type: "button" }, image);
    button.ariaLabel = filled(said.remove, { number: place, label: one.name.value });
    const item = make("li", {}, button);
    const gone = () => {
      one.pictures.splice(one.pictures.indexOf(picture), 1);
      const next = item.nextElementSibling ?? item.previousElementSibling;
      item.remove();
      URL.revokeObjectURL(picture.url);
      (next?.firstChild ?? find("input[type=file]", one.box)).focus();
      count(one);
      changed();
    };
    button.addEventListener("click", () => {
      if (picture.number) ask(`remove/${picture.number}`, {}).catch(() => {});
      gone();
    });
    find(".thumbs", one.box).append(item);
    count(one);
    try {
      picture.number = (await ask("picture", blob)).number;
    } catch (error) {
      gone();
      complain(error.message);
    }
    changed();
  };

  const bring = async (one, files) => {
    complain("");
    for (const file of files) {
      try {
        await add(one, await opened(file));
      } catch (error) {
        complain(error.message);
      }
    }
  };

  const film = async (one, button, video) => {
    if (filming) {
      const before = filming;
      filming.stop();
      if (before.one === one) return;
    }
    try {
      await startCamera(video, WANTED);
    } catch {
      complain(said.no_camera);
      return;
    }
    complain("");
    let taken = 0;
    button.ariaPressed = "true";
    button.textContent = said.stop;
    const clock = setInterval(async () => {
      if (taken++ >= MOST_FILMED) return filming?.stop();
      add(one, await small(video, video.videoWidth, video.videoHeight));
    }, OFTEN);
    filming = { one, stop: () => {
      clearInterval(clock);
      stopCamera(video);
      button.ariaPressed = "false";
      button.textContent = said.film;
      filming = null;
    } };
  };

  const added = () => {
    const number = ++numbers;
    const name = make("input", { type: "text", maxLength: longest, value: filled(said.class, { number }) });
    const person = make("input", { type: "text", maxLength: longest });
    const files = make("input", { type: "file", accept: "image/*", multiple: true });
    const button = make("button", { type: "button", textContent: said.film });
    const video = make("video", { muted: true, playsInline: true, hidden: true });
    const remove = make("button", { type: "button", textContent: "×", className: "gone" });
    const box = make("fieldset", {},
      make("legend", { textContent: filled(said.class, { number }) }),
      make("label", {}, said.called, name),
      make("details", {}, make("summary", { textContent: said.whose }),
        make("label", {}, said.person, person), make("p", { textContent: said.why })),
      make("p", { className: "buttons" }, make("label", { className: "button" }, said.choose, files), button,
        make("span", { className: "faint", textContent: said.drop })), video,
      make("p", { className: "count" }), make("ul", { className: "thumbs" }), remove);
    const one = { box, name, person, pictures: [] };
    const called = () => {
      remove.ariaLabel = filled(said.drop_class, { label: name.value });
      files.ariaLabel = `${said.choose}: ${name.value}`;
      button.ariaLabel = `${button.textContent}: ${name.value}`;
    };
    button.ariaPressed = "false";
    name.addEventListener("input", () => { called(); changed(); });
    name.addEventListener("focus", () => name.select());
    files.addEventListener("change", async () => {
      const chosen = [...files.files];
      files.value = "";
      await bring(one, chosen);
    });
    dropped(box, ({ files: brought }) => bring(one, [...brought]));
    button.addEventListener("click", () => film(one, button, video));
    remove.addEventListener("click", () => {
      if (filming?.one === one) filming.stop();
      classes.splice(classes.indexOf(one), 1);
      box.remove();
      find("[data-do=class]").disabled = false;
      changed();
    });
    classes.push(one);
    find(".classes").append(box);
    find("[data-do=class]").disabled = classes.length >= most;
    called();
    count(one);
    changed();
    return one;
  };

  const asked = () => ({ pictures: classes.flatMap((one) =>
    one.pictures.filter((each) => each.number)
      .map((each) => ({ number: each.number, label: one.name.value.trim(), person: each.person }))) });

  // what can be said before it learns; the check itself waits until nothing comes any more
  let waiting = 0;
  const changed = () => {
    const names = classes.map((one) => one.name.value.trim());
    const enough = classes.length > 1 && classes.every((one) => one.pictures.filter((each) => each.number).length > 1);
    const different = names.every(Boolean) && new Set(names).size === names.length;
    const ready = enough && different;
    find("[data-do=train]").disabled = !ready;
    const told = !different ? said.names : !enough ? said.need : said.ready;
    find(".remarks").replaceChildren(make("p", { textContent: told }));
    clearTimeout(waiting);
    if (!ready) return;
    waiting = setTimeout(async () => {
      const turn = ++checks;
      try {
        const { remarks } = await ask("check", asked());
        if (turn !== checks || find("[data-do=train]").disabled) return;
        const items = remarks.map((text) => make("li", { textContent: text }));
        find(".remarks").replaceChildren(make("p", { textContent: told }), make("ul", {}, ...items));
      } catch (error) {
        complain(error.message);
      }
    }, 700);
  };

  const learn = async () => {
    complain("");
    filming?.stop();
    if (live) lively();
    const button = find("[data-do=train]"), progress = find(".progress");
    const begun = Date.now();
    button.disabled = true;
    try {
      const labels = classes.map((one) => one.name.value.trim());
      await ask("train", asked());
      progress.hidden = false;
      for (;;) {
        const state = await ask("state");
        const done = state.state === "done" ? 1 : state.fraction;
        const seconds = Math.round((Date.now() - begun) / 1000);
        find("p", progress).textContent = state.state === "done" ? said.learnt : filled(said.learning, { seconds });
        find("i", progress).style.width = `${100 * done}%`;
        find("[role=progressbar]").ariaValueNow = String(Math.round(100 * done));
        if (state.state === "done") {
          tried(labels, state.figure);
          break;
        }
        if (!["waiting", "running"].includes(state.state)) throw new Error(state.trouble ?? said.failed);
        await new Promise((next) => setTimeout(next, 300));
      }
    } catch (error) {
      progress.hidden = true;
      complain(error.message);
    }
    button.disabled = false;
  };

  const tried = (labels, figure) => {
    learnt = labels;
    kept = false;
    find(".trying").hidden = find(".keeping").hidden = false;
    find(".kept").textContent = "";
    find("[data-do=keep]").disabled = false;
    find(".figure").textContent = figure.text ? filled(said.figure, { n: figure.n, figure: figure.text, interval: figure.interval }) : "";
    find(".bars").replaceChildren(...labels.map((label) => make("li", {},
      make("span", { textContent: label }), make("div", { className: "bar" }, make("i")))));
    if (!find("[data-name]").value) find("[data-name]").value = labels.join("-").slice(0, 40);
    find("#teach-3").focus();
    const first = classes.flatMap((one) => one.pictures)[0]; // the network is loaded meanwhile
    if (first) fetch(first.url).then((file) => file.blob()).then((blob) => ask("answer", blob)).catch(() => {});
  };

  const answered = (shares) => {
    const best = shares.indexOf(Math.max(...shares));
    [...find(".bars").children].forEach((item, place) => {
      const percent = Math.round(100 * shares[place]);
      find("span", item).textContent = filled(said.likely, { label: learnt[place], percent });
      find("i", item).style.width = `${percent}%`;
      item.classList.toggle("most", place === best);
    });
    return filled(said.likely, { label: learnt[best], percent: Math.round(100 * shares[best]) });
  };

  const lively = async () => {
    const button = find("[data-do=live]"), video = find(".given video");
    if (live) {
      live.on = false;
      live = null;
      stopCamera(video);
      button.ariaPressed = "false";
      button.textContent = said.live;
      return;
    }
    filming?.stop();
    try {
      await startCamera(video, WANTED);
    } catch {
      complain(said.no_camera);
      return;
    }
    const mine = live = { on: true };
    find(".given img").hidden = true;
    button.ariaPressed = "true";
    button.textContent = said.off;
    while (mine.on) {
      try {
        const blob = await small(video, video.videoWidth || 640, video.videoHeight || 480);
        answered((await ask("answer", blob)).shares);
      } catch (error) {
        complain(error.message);
        if (mine.on) lively();
        return;
      }
      await new Promise((next) => setTimeout(next, 50));
    }
  };

  const tryOut = async (files) => {
    if (live) lively();
    complain("");
    for (const file of files) {
      try {
        const blob = await opened(file);
        const url = URL.createObjectURL(blob);
        const image = find(".given img");
        const told = answered((await ask("answer", blob)).shares);
        Object.assign(image, { src: url, alt: `${file.name}: ${told}`, hidden: false });
        find(".tried").prepend(make("li", {}, make("img", { src: url, alt: file.name }), told));
      } catch (error) {
        complain(error.message);
      }
    }
  };

  const keep = async () => {
    const button = find("[data-do=keep]"), told = find(".kept");
    button.disabled = true;
    told.textContent = said.keeping;
    try {
      const run = await ask("keep", { name: find("[data-name]").value });
      kept = true;
      told.replaceChildren(`${filled(said.kept, { name: run.name })} `,
        make("a", { href: run.use, textContent: said.use }), " · ",
        make("a", { href: run.report, textContent: said.report }));
    } catch (error) {
      told.textContent = "";
      button.disabled = false;
      complain(error.message);
    }
  };

  const DO = { class: () => find("input", added().box).focus(), train: learn, live: lively, keep };
  root.addEventListener("click", (event) => {
    const what = event.target.closest("[data-do]")?.dataset.do;
    if (what) DO[what]();
  });
  dropped(find(".given"), ({ files }) => tryOut([...files]));
  find("[data-try]").addEventListener("change", (event) => {
    const chosen = [...event.target.files];
    event.target.value = "";
    tryOut(chosen);
  });
  addEventListener("beforeunload", (event) => {
    if (!kept) event.preventDefault();
  });
  addEventListener("pagehide", () => {
    if (known) navigator.sendBeacon(`/teach/${root.dataset.language}/${known}/end`);
  });
  added();
  added();
};
