/** The map of a session's memory: each cell a part of it, in the order of addresses. */

import { fillTable, setText, the } from "./dom.js";
import { bytes, count, share } from "./format.js";
import { isStill, onTheme, ramp, theme } from "./theme.js";

/** Pixels of a cell with the gap beside it: as it is asked for, at least and at most. */
const PITCH = 9;
const LEAST_PITCH = 6;
const MOST_PITCH = 22;
/** Pixels that a map is high, about. */
const HEIGHT = 190;
/** Milliseconds for which a cell is seen to have been asked for. */
const GLOW = 1600;
const STEPS = 24;

/** The one on the page. */
export class MemoryMap {
  #canvas = the("map");
  #context = this.#canvas.getContext("2d");
  #map;
  /** Of each cell, when it was last seen to be asked for. */
  #askedAt = new Float64Array(0);
  #frame = 0;
  #places = [];
  #columns = 1;
  #pitch = PITCH;
  #ramp = [];
  #glow = [];

  constructor() {
    this.#readColours();
    onTheme(() => {
      this.#readColours();
      this.#draw();
    });
    new ResizeObserver(() => this.#lay()).observe(this.#canvas.parentElement);
    this.#canvas.addEventListener("pointermove", (event) => this.#point(event));
    this.#canvas.addEventListener("pointerleave", () => setText(the("map-cell"), ""));
  }

  /** How many cells there is room for. */
  get cells() {
    return Math.max(64, Math.floor(this.#width / PITCH) * Math.floor(HEIGHT / PITCH));
  }

  /** Shows a map; undefined when there is none. */
  show(map) {
    if (map === undefined) {
      this.#map = undefined;
      this.#canvas.hidden = true;
      setText(the("map-text"), "Its memory is not known yet.");
      fillTable(the("map-table"), []);
      return;
    }
    const before = this.#map;
    this.#map = map;
    const now = performance.now();
    const same = before?.asked.length === map.asked.length;
    if (!same) this.#askedAt = new Float64Array(map.asked.length).fill(-Infinity);
    map.asked.forEach((asked, cell) => {
      if (same && asked > before.asked[cell]) this.#askedAt[cell] = now;
    });
    if (!same || this.#canvas.hidden) {
      this.#canvas.hidden = false;
      this.#lay();
    } else this.#draw();
    this.#say();
  }

  /** Forgets what it shows: another session is shown next. */
  clear() {
    this.#map = undefined;
    this.#askedAt = new Float64Array(0);
    this.#context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    setText(the("map-cell"), "");
  }

  get #width() {
    const { parentElement } = this.#canvas;
    const { paddingLeft, paddingRight } = getComputedStyle(parentElement);
    return parentElement.clientWidth - Number.parseFloat(paddingLeft) -
      Number.parseFloat(paddingRight);
  }

  #readColours() {
    const { missing, placed, asked } = theme();
    this.#ramp = ramp(missing, placed, STEPS);
    this.#glow = ramp(placed, asked, STEPS);
  }

  /** Finds a place for each cell. Between two blocks one is left free. */
  #lay() {
    if (this.#map === undefined) return;
    const { blocks } = this.#map;
    this.#places = blocks.flatMap(({ "first-cell": first, cells }, index) =>
      Array.from({ length: cells }, (_, cell) => first + cell + index)
    );
    const places = (this.#places.at(-1) ?? 0) + 1;
    const width = Math.max(1, this.#width);
    const pitch = Math.floor(Math.sqrt(width * HEIGHT / places));
    this.#pitch = Math.min(MOST_PITCH, Math.max(LEAST_PITCH, pitch));
    this.#columns = Math.max(1, Math.floor(width / this.#pitch));
    this.#pitch = width / this.#columns; // so that all of the width is used
    const height = Math.ceil(Math.ceil(places / this.#columns) * this.#pitch);
    const ratio = globalThis.devicePixelRatio;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    this.#canvas.style.height = `${height}px`;
    this.#context.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.#draw();
  }

  #draw() {
    cancelAnimationFrame(this.#frame);
    if (this.#map === undefined) return;
    const now = performance.now();
    const { missing, requested, sent, absent, asked } = this.#map;
    const colours = theme();
    const context = this.#context;
    const pitch = this.#pitch;
    const gap = pitch > 12 ? 2 : 1;
    const size = Math.floor(pitch) - gap;
    const dot = Math.max(2, Math.round(size / 3));
    let glows = false;
    context.clearRect(0, 0, this.#canvas.width, this.#canvas.height);
    this.#places.forEach((place, cell) => {
      const column = place % this.#columns;
      const row = Math.floor(place / this.#columns);
      const x = Math.round(column * pitch);
      const y = Math.round(row * pitch);
      // The gaps are alike, the cells may differ by a pixel.
      const width = Math.round((column + 1) * pitch) - gap - x;
      const height = Math.round((row + 1) * pitch) - gap - y;
      const held = missing[cell] + requested[cell] + sent[cell];
      const glow = 1 - (now - this.#askedAt[cell]) / GLOW;
      let touched = asked[cell] > 0;
      if (requested[cell] > 0) {
        context.fillStyle = colours.asked;
        touched = false;
      } else if (glow > 0) {
        context.fillStyle = this.#glow[Math.ceil(glow * (STEPS - 1))];
        glows = true;
      } else if (held === 0) {
        context.fillStyle = touched ? colours.placed : colours.absent;
      } else {
        context.fillStyle = this.#ramp[Math.floor(sent[cell] / held * (STEPS - 1))];
      }
      context.fillRect(x, y, width, height);
      if (held === 0 && !touched && absent[cell] > 0) {
        context.strokeStyle = colours.line;
        context.strokeRect(x + 0.5, y + 0.5, width - 1, height - 1);
      }
      if (!touched) return;
      context.fillStyle = colours.asked;
      context.fillRect(x + ((width - dot) >> 1), y + ((height - dot) >> 1), dot, dot);
    });
    if (glows && !isStill()) this.#frame = requestAnimationFrame(() => this.#draw());
  }

  /** Says the same in words and figures. */
  #say() {
    const { blocks, missing, requested, sent, absent, asked, "page-size": page } = this.#map;
    const sum = (counts, from = 0, cells = counts.length) => {
      let total = 0;
      for (let cell = from; cell < from + cells; cell++) total += counts[cell];
      return total;
    };
    const pages = blocks.reduce((total, { pages }) => total + pages, 0);
    const [lacks, waits, touched] = [sum(missing), sum(requested), sum(asked)];
    const held = pages - sum(absent);
    const parts = [
      `${bytes(pages * page)} in ${count(blocks.length)} ${
        blocks.length === 1 ? "block" : "blocks"
      }`,
      `${share(sum(sent), held)} in place`,
      `${count(lacks)} pages missing`,
    ];
    if (waits > 0) parts.push(`${count(waits)} waited for`);
    if (touched > 0) parts.push(`${count(touched)} asked for so far`);
    const each = bytes(this.#map["pages-per-cell"] * page);
    setText(the("map-text"), `${parts.join(", ")}. A square is ${each}.`);
    fillTable(
      the("map-table"),
      blocks.map(({ name, pages, "first-cell": first, cells }) => [
        name,
        bytes(pages * page),
        ...[missing, requested, sent, absent].map((counts) => count(sum(counts, first, cells))),
      ]),
    );
  }

  /** Tells of the cell under the pointer. */
  #point({ offsetX, offsetY }) {
    if (this.#map === undefined) return;
    const pitch = this.#pitch;
    const column = Math.floor(offsetX / pitch);
    const place = Math.floor(offsetY / pitch) * this.#columns + column;
    const cell = column < this.#columns ? this.#places.indexOf(place) : -1;
    setText(the("map-cell"), cell < 0 ? "" : this.#cellText(cell));
  }

  #cellText(cell) {
    const { blocks, missing, requested, sent, absent, asked } = this.#map;
    const page = this.#map["page-size"];
    const block = blocks.findLast(({ "first-cell": first }) => first <= cell);
    const size = this.#map["pages-per-cell"] * page;
    const at = `0x${((cell - block["first-cell"]) * size).toString(16)}`;
    const parts = [
      [sent, "in place"],
      [missing, "missing"],
      [requested, "waited for"],
      [absent, "not in the image"],
      [asked, "were asked for"],
    ].filter(([counts]) => counts[cell] > 0).map(([counts, what]) =>
      `${count(counts[cell])} ${what}`
    );
    return `${block.name} ${at}: ${parts.join(", ")}`;
  }
}
