"use strict";
// Who of 1,000 people is called positive, at the threshold and the prevalence of two sliders.
// The formulas are those of metrics/classification.py (_by_bayes) and metrics/net_benefit.py (frequencies).
(() => {
  /** @returns {any} an element of the template */
  const byId = (name) => document.getElementById("people-" + name);
  const held = JSON.parse(byId("held").textContent);
  const [threshold, prevalence, method] = ["threshold", "prevalence", "method"].map(byId);
  const ROWS = 25, CELL = 10;

  const percent = (share) => (100 * share).toFixed(1) + "\u00a0%";
  const short = (share) => Number((100 * share).toPrecision(3)) + "\u00a0%";
  const fill = (text, fields) => text.replace(/\{(\w+)\}/g, (whole, name) => (name in fields ? fields[name] : whole));

  const leastRatio = (top, bottom, together) => {
    const down = top[0] - top[1], up = bottom[2] - bottom[0];
    const a = (bottom[0] - up) * (bottom[0] + up);
    const b = top[0] * bottom[0] - together * down * up;
    const c = (top[0] - down) * (top[0] + down);
    const below = b + Math.sqrt(Math.max(b * b - a * c, 0));
    return below > 0 ? Math.max(c, 0) / below : 0;
  };
  const byBayes = (hits, passes, together, share) => {
    const wrong = [1 - passes[0], 1 - passes[2], 1 - passes[1]], odds = share / (1 - share);
    const low = odds * leastRatio(hits, wrong, -together);
    const turned = leastRatio(wrong, hits, -together) / odds;
    const right = share * hits[0], called = right + (1 - share) * wrong[0];
    return [called > 0 ? right / called : NaN, low / (1 + low), 1 / (1 + turned)];
  };

  const dot = (x, y, r) => `M${x - r},${y}a${r},${r} 0 1 0 ${2 * r},0a${r},${r} 0 1 0 ${-2 * r},0`;
  const square = (x, y, r) => `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`;
  const cross = (x, y, r) => `M${x - r},${y - r}l${2 * r},${2 * r}m0,${-2 * r}l${-2 * r},${2 * r}`;
  /** @type {Record<string, [Function, number]>} */
  const SHAPES = { found: [dot, 4], missed: [cross, 3.4], alarms: [square, 3.2], spared: [dot, 1.6] };
  const draw = (counts) => {
    let place = 0;
    for (const [name, [shape, size]] of Object.entries(SHAPES)) {
      const paths = [];
      for (const end = place + counts[name]; place < end; place += 1) {
        paths.push(shape((Math.floor(place / ROWS) + 0.5) * CELL, ((place % ROWS) + 0.5) * CELL, size));
      }
      byId(name).setAttribute("d", paths.join(""));
    }
  };

  const show = () => {
    const at = Number(threshold.value), t = held.thresholds[at], share = held.prevalences[Number(prevalence.value)];
    const chosen = held.methods[method ? Number(method.value) : 0];
    const hits = chosen.sensitivity[at], passes = chosen.specificity[at], together = chosen.together[at];
    const ill = Math.floor(held.people * share + 0.5);
    const found = Math.floor(ill * hits[0] + 0.5);
    const alarms = Math.floor((held.people - ill) * (1 - passes[0]) + 0.5);
    const counts = { ill, called: found + alarms, found, missed: ill - found, alarms, spared: held.people - ill - alarms };
    const rates = {
      sensitivity: hits,
      specificity: passes,
      ppv: byBayes(hits, passes, together, share),
      npv: byBayes(passes, hits, together, 1 - share),
    };
    for (const [slider, value, output] of [[threshold, t, "t"], [prevalence, share, "p"]]) {
      slider.setAttribute("aria-valuetext", short(value));
      byId(output).textContent = short(value);
    }
    for (const [name, [value, low, high]] of Object.entries(rates)) {
      byId(name).textContent = Number.isNaN(value) ? "–" : percent(value);
      byId(name + "-interval").textContent = `${percent(low).replace("\u00a0%", "")}–${percent(high)}`;
    }
    byId("result").textContent = fill(held.words.result, counts);
    byId("harm").textContent = fill(held.words.harm, { harm: Number(((1 - t) / t).toPrecision(3)) });
    byId("image").setAttribute("aria-label", fill(held.words.image, counts));
    draw(counts);
  };

  for (const control of [threshold, prevalence, method].filter(Boolean)) control.addEventListener("input", show);
  byId("controls").hidden = byId("drawing").hidden = false;
  show();
  document.documentElement.dataset.state = "ready";
})();
