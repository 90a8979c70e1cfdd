"use strict";
// The slices of a study's volumes, with the points drawn in. Text of the data is only ever set as text.

const SVG = "http://www.w3.org/2000/svg";
const SHOWN_MM = 5; // a slice shows points so near to its plane
const KEPT = 150; // slices

const byId = (id) => document.getElementById(id);
const times = (matrix, [x, y, z]) => matrix.map((row) => row[0] * x + row[1] * y + row[2] * z + row[3]);

export class Viewer {
  // onMove(finding, [x, y, z], placed) when a person moved a point, or placed it by a click; onSelect(finding) when one was chosen.
  constructor({ onMove, onSelect }) {
    Object.assign(this, { onMove, onSelect, state: null, volume: 0, selected: null, zoom: 1, placing: null });
    this.at = []; // the slice of each volume
    this.cache = new Map();
    this.image = byId("slice");
    this.stage = byId("stage");
    this.marks = byId("marks");
    byId("back").addEventListener("click", () => this.scroll(-1));
    byId("forth").addEventListener("click", () => this.scroll(1));
    byId("k").addEventListener("input", (event) => this.goTo(Number(event.target.value)));
    byId("closer").addEventListener("click", () => this.scale(1.4));
    byId("farther").addEventListener("click", () => this.scale(1 / 1.4));
    for (const id of ["brightness", "contrast"]) byId(id).addEventListener("input", () => this.light());
    byId("scroller").addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    this.stage.addEventListener("click", (event) => this.placed(event));
    new ResizeObserver(() => this.draw()).observe(byId("scroller"));
  }

  get shown() {
    return this.state?.volumes[this.volume];
  }

  get k() {
    return this.at[this.volume] ?? 0;
  }

  // A new study, or the same one after a change.
  show(state, fresh) {
    this.state = state;
    if (fresh) {
      this.at = state.volumes.map((volume) => Math.floor(volume.slices / 2));
      this.volume = 0;
      this.stopPlacing();
      for (const url of this.cache.values()) url.then(URL.revokeObjectURL, () => {});
      this.cache.clear();
    }
    byId("images").hidden = state.volumes.length === 0;
    byId("volumes").replaceChildren(...state.volumes.map((volume, n) => this.tab(volume, n)));
    this.draw();
  }

  tab(volume, n) {
    const button = document.createElement("button");
    const same = this.state.volumes.filter((one) => one.title === volume.title);
    button.type = "button";
    button.textContent = same.length > 1 ? `${volume.title} ${same.indexOf(volume) + 1}` : volume.title;
    button.title = volume.name;
    button.setAttribute("aria-pressed", String(n === this.volume));
    button.addEventListener("click", () => this.choose(n));
    return button;
  }

  choose(n) {
    this.volume = n;
    Array.from(byId("volumes").children).forEach((one, m) => one.setAttribute("aria-pressed", String(m === n)));
    this.draw();
  }

  nextVolume() {
    if (this.state?.volumes.length) this.choose((this.volume + 1) % this.state.volumes.length);
  }

  scroll(step) {
    this.goTo(this.k + step);
  }

  goTo(k) {
    if (!this.shown) return;
    this.at[this.volume] = Math.min(Math.max(k, 0), this.shown.slices - 1);
    this.draw();
  }

  // To the slice that is nearest to a finding's point, in the volume that the program graded it by.
  goToPoint(finding) {
    const point = this.state.points[finding.name];
    if (!this.state.volumes.length) return;
    const stay = !point && this.canShow(this.shown, finding); // where the person looks for its place
    const n = stay ? this.volume : finding.volume ?? this.state.volumes.findIndex((one) => this.canShow(one, finding));
    if (n >= 0) this.volume = n;
    if (point) this.at[this.volume] = this.nearest(this.shown, point.position);
    this.choose(this.volume);
  }

  canShow(volume, finding) {
    return (volume.plane === "axial") === finding.condition.includes("subarticular");
  }

  nearest(volume, position) {
    const k = Math.round(times(volume.to_picture, position)[2]);
    return Math.min(Math.max(k, 0), volume.slices - 1);
  }

  select(name) {
    this.selected = name;
    this.draw();
  }

  scale(factor) {
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), 6);
    const scroller = byId("scroller");
    const middle = [scroller.scrollLeft + scroller.clientWidth / 2, scroller.scrollTop + scroller.clientHeight / 2];
    const before = [this.stage.clientWidth, this.stage.clientHeight];
    this.draw();
    scroller.scrollLeft = (middle[0] * this.stage.clientWidth) / before[0] - scroller.clientWidth / 2;
    scroller.scrollTop = (middle[1] * this.stage.clientHeight) / before[1] - scroller.clientHeight / 2;
  }

  wheel(event) {
    event.preventDefault();
    if (event.ctrlKey) this.scale(event.deltaY < 0 ? 1.15 : 1 / 1.15);
    else if (event.deltaY) this.scroll(Math.sign(event.deltaY));
  }

  light() {
    this.image.style.filter = `brightness(${byId("brightness").value}%) contrast(${byId("contrast").value}%)`;
  }

  draw() {
    const volume = this.shown;
    if (!volume) return;
    const scroller = byId("scroller");
    const size = [volume.columns * volume.spacing[0], volume.rows * volume.spacing[1]];
    const height = Math.max(240, Math.min(window.innerHeight * 0.66, 900));
    this.perMm = Math.min(scroller.clientWidth / size[0], height / size[1]) * this.zoom;
    this.stage.style.width = `${size[0] * this.perMm}px`;
    this.stage.style.height = `${size[1] * this.perMm}px`;
    scroller.style.height = `${(size[1] * this.perMm) / this.zoom}px`;
    for (const edge of ["left", "right", "top", "bottom"]) {
      scroller.querySelector(`.edge.${edge}`).textContent = volume.letters[edge];
    }
    const slider = byId("k");
    slider.max = String(volume.slices - 1);
    slider.value = String(this.k);
    const words = this.words(volume);
    slider.setAttribute("aria-valuetext", words);
    byId("caption").textContent = words;
    this.image.alt = `${volume.title}, ${words}`;
    this.load(volume);
    this.drawPoints(volume);
  }

  // Where the slice is, in words: on a sagittal slice nothing else tells the patient's left from the right.
  words(volume) {
    const middle = times(volume.to_world, [(volume.columns - 1) / 2, (volume.rows - 1) / 2, this.k]);
    const words = [`slice ${this.k + 1} of ${volume.slices}`];
    const points = Object.entries(this.state.points);
    const canal = points.filter(([name]) => name.startsWith("spinal")).map(([, point]) => point.position);
    if (volume.plane === "axial") {
      const level = this.levelAt(volume, canal.length ? points : []);
      words.push(level ? `at ${level}` : "between the levels", `${volume.letters.left} on the left`);
    } else if (canal.length) {
      const off = middle[0] - canal.reduce((sum, one) => sum + one[0], 0) / canal.length;
      const side = off > 0 ? "right" : "left";
      words.push(Math.abs(off) < 2 ? "through the canal" : `${Math.abs(off).toFixed(0)} mm to the patient's ${side}`);
    } else {
      words.push(`slices run from ${volume.letters.first} to ${volume.letters.last}`);
    }
    return words.join(" · ");
  }

  levelAt(volume, points) {
    let best = null;
    for (const [name, point] of points) {
      if (!name.startsWith("spinal")) continue;
      const off = Math.abs(times(volume.to_picture, point.position)[2] - this.k) * volume.spacing[2];
      if (off <= 6 && (!best || off < best.off)) best = { off, name };
    }
    return best && this.titleOf(best.name);
  }

  titleOf(name) {
    return name.slice(-5).toUpperCase().replace("_", "/");
  }

  fetched(n, k) {
    const url = `/slices/${this.state.number}/${n}/${k}.png`;
    if (!this.cache.has(url)) {
      const loading = fetch(url).then(async (answer) => {
        if (!answer.ok) throw new Error((await answer.json()).message);
        return URL.createObjectURL(await answer.blob());
      });
      loading.catch(() => this.cache.delete(url));
      this.cache.set(url, loading);
      if (this.cache.size > KEPT) {
        const [oldest, old] = this.cache.entries().next().value;
        this.cache.delete(oldest);
        old.then(URL.revokeObjectURL, () => {});
      }
    }
    return this.cache.get(url);
  }

  async load(volume) {
    const wanted = [this.state.number, this.volume, this.k];
    const asked = wanted.join();
    this.asked = asked;
    try {
      const url = await this.fetched(this.volume, this.k);
      if (this.asked !== asked) return;
      this.image.src = url;
      this.image.dataset.slice = asked;
    } catch (error) {
      if (this.asked === asked) byId("caption").textContent = `This slice cannot be shown: ${error.message}`;
      return;
    }
    // The neighbours, and a slice of each other volume, which is unpacked for it.
    const others = this.at.map((k, n) => [n, k]).filter(([n]) => n !== wanted[1]);
    const next = [1, -1, 2, -2].map((step) => [wanted[1], wanted[2] + step]);
    for (const [n, k] of [...next, ...others]) {
      const there = k >= 0 && k < this.state.volumes[n]?.slices;
      if (there && this.asked === asked) await this.fetched(n, k).catch(() => {});
    }
  }

  drawPoints(volume) {
    const focused = document.activeElement?.closest?.("#marks g")?.dataset.finding;
    const shown = [];
    for (const finding of this.state.findings) {
      const point = this.state.points[finding.name];
      if (!point) continue;
      const place = times(volume.to_picture, point.position);
      const off = Math.abs(place[2] - this.k) * volume.spacing[2];
      const on = off <= volume.spacing[2] / 2 + 0.01;
      if (on || off <= SHOWN_MM) shown.push(this.mark(volume, finding, place, on));
    }
    // The selected one last, so that it lies on top.
    shown.sort((a, b) => (a.dataset.finding === this.selected) - (b.dataset.finding === this.selected));
    this.marks.replaceChildren(...shown);
    if (focused) this.marks.querySelector(`g[data-finding="${focused}"]`)?.focus({ preventScroll: true });
  }

  toPixels(volume, place) {
    return [(place[0] + 0.5) * volume.spacing[0] * this.perMm, (place[1] + 0.5) * volume.spacing[1] * this.perMm];
  }

  mark(volume, finding, place, on) {
    const group = document.createElementNS(SVG, "g");
    const structure = finding.condition.includes("spinal") ? "canal" : finding.condition.includes("foraminal") ? "foramen" : "recess";
    const tone = finding.corrected ?? finding.grade ?? "unknown";
    const selected = finding.name === this.selected;
    group.dataset.finding = finding.name;
    group.setAttribute("class", `point ${tone} ${on ? "on" : "near"} ${selected ? "selected" : ""}`);
    group.setAttribute("tabindex", "0");
    group.setAttribute("role", "button");
    group.setAttribute("aria-pressed", String(selected));
    group.setAttribute("aria-label", `${finding.title}, point${on ? "" : " near this slice"}; Shift and arrow keys move it`);
    const side = finding.condition.startsWith("left") ? "left " : finding.condition.startsWith("right") ? "right " : "";
    const words = volume.plane === "axial" ? `${side}${structure}` : this.titleOf(finding.name);
    const paths = { canal: "M-7,0a7,7 0 1,0 14,0a7,7 0 1,0 -14,0", foramen: "M0,-8L8,0L0,8L-8,0Z", recess: "M0,-8L7.5,6L-7.5,6Z" };
    const parts = [
      ["circle", { r: 20, class: "hit" }],
      ["path", { d: paths[structure] }],
      ["path", { d: "M-2.5,0H2.5M0,-2.5V2.5" }],
    ];
    for (const [tag, attributes] of parts) {
      const part = document.createElementNS(SVG, tag);
      for (const [name, value] of Object.entries(attributes)) part.setAttribute(name, value);
      group.append(part);
    }
    if (on || selected || volume.plane === "sagittal") {
      // Away from the middle of an axial picture, so that the words of left and right do not meet.
      const leftwards = volume.plane === "axial" && side && (side === "right ") === (volume.letters.left === "R");
      const text = document.createElementNS(SVG, "text");
      text.setAttribute("x", leftwards ? "-12" : "12");
      text.setAttribute("y", volume.plane === "axial" && !side ? "22" : "5");
      text.setAttribute("text-anchor", leftwards ? "end" : "start");
      text.textContent = words;
      group.append(text);
    }
    const [x, y] = this.toPixels(volume, place);
    group.setAttribute("transform", `translate(${x.toFixed(1)},${y.toFixed(1)})`);
    group.addEventListener("pointerdown", (event) => this.drag(event, group, volume, finding, place, on));
    group.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      this.onSelect(finding.name);
    });
    return group;
  }

  // A point on this slice keeps its distance to the plane; one that is only near comes onto the slice.
  drag(event, group, volume, finding, place, on) {
    if (event.button !== 0 || (this.placing && this.over)) return;
    event.preventDefault();
    group.setPointerCapture(event.pointerId);
    const start = [event.clientX, event.clientY];
    const from = this.toPixels(volume, place);
    const [n, k] = [this.volume, this.k];
    let to = from;
    const move = (one) => {
      to = [from[0] + one.clientX - start[0], from[1] + one.clientY - start[1]];
      group.setAttribute("transform", `translate(${to[0].toFixed(1)},${to[1].toFixed(1)})`);
    };
    const end = (one) => {
      group.removeEventListener("pointermove", move);
      group.removeEventListener("pointerup", end);
      group.removeEventListener("pointercancel", end);
      const far = Math.hypot(to[0] - from[0], to[1] - from[1]) > 3;
      if (one.type === "pointerup" && far && n === this.volume) {
        this.onMove(finding.name, this.worldOf(volume, to, on ? place[2] : k));
      } else {
        this.draw();
        if (one.type === "pointerup") this.onSelect(finding.name);
      }
    };
    group.addEventListener("pointermove", move);
    group.addEventListener("pointerup", end);
    group.addEventListener("pointercancel", end);
  }

  worldOf(volume, [x, y], k) {
    return times(volume.to_world, [x / (volume.spacing[0] * this.perMm) - 0.5, y / (volume.spacing[1] * this.perMm) - 0.5, k]);
  }

  // The selected point, some mm along the columns and rows of the picture.
  nudge(name, columns, rows) {
    const point = this.state?.points[name];
    const volume = this.shown;
    if (!point || !volume) return null;
    const [c, r, k] = times(volume.to_picture, point.position);
    const on = Math.abs(k - this.k) <= 0.5;
    return times(volume.to_world, [c + columns / volume.spacing[0], r + rows / volume.spacing[1], on ? k : this.k]);
  }

  // Without words, a click on another point places this one, too; with them, other points can be dragged meanwhile.
  startPlacing(name, words) {
    this.placing = name;
    this.over = !words;
    byId("place-hint").firstElementChild.textContent = words ?? "Click where the point is.";
    byId("place-hint").hidden = false;
    byId("scroller").classList.toggle("over", this.over);
    byId("scroller").classList.add("placing");
  }

  stopPlacing() {
    this.placing = null;
    byId("place-hint").hidden = true;
    byId("scroller").classList.remove("placing");
  }

  placed(event) {
    if (!this.placing || (!this.over && event.target.closest(".point"))) return;
    const box = this.stage.getBoundingClientRect();
    const name = this.placing;
    this.stopPlacing();
    this.onMove(name, this.worldOf(this.shown, [event.clientX - box.left, event.clientY - box.top], this.k), true);
  }

  // The middle of what is shown, for people who place a point by the keyboard.
  middle() {
    const scroller = byId("scroller");
    const x = scroller.scrollLeft + Math.min(scroller.clientWidth, this.stage.clientWidth) / 2;
    const y = scroller.scrollTop + Math.min(scroller.clientHeight, this.stage.clientHeight) / 2;
    return this.worldOf(this.shown, [x, y], this.k);
  }
}
