/** The order in which an image's pages were touched when it was restored before. */

import { call } from "./api.js";
import { setText, the } from "./dom.js";
import { bytes, count } from "./format.js";
import { onTheme, theme } from "./theme.js";

/** The one on the page. */
export class OrderPicture {
  #canvas = the("order");
  #order;
  #image;

  constructor() {
    onTheme(() => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(this.#canvas);
  }

  /**
   * Shows what is recorded beside an image.
   *
   * @param image its name; undefined where none is served
   */
  async show(image) {
    this.#image = image;
    this.#order = undefined;
    this.#canvas.hidden = true;
    if (image === undefined) {
      setText(the("order-text"), "None: orders belong to images that are served.");
      return;
    }
    let order;
    try {
      order = await call(`/images/${encodeURIComponent(image)}/order`);
    } catch {
      order = undefined; // none is recorded, or the image is not one of the list
    }
    if (image !== this.#image) return; // another one is shown meanwhile
    if (order === undefined || order.order.length === 0) {
      setText(the("order-text"), "None recorded yet: it is written when a restore has ended.");
      return;
    }
    this.#order = order;
    this.#canvas.hidden = false;
    const size = bytes(order.pages * order["page-size"]);
    setText(
      the("order-text"),
      `${
        count(order.pages)
      } pages, ${size}: from left to right where they lie, from top to bottom when ` +
        "they were touched.",
    );
    this.#draw();
  }

  #draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    if (this.#order === undefined || width === 0) return;
    const ratio = globalThis.devicePixelRatio;
    this.#canvas.width = Math.round(width * ratio);
    this.#canvas.height = Math.round(height * ratio);
    const context = this.#canvas.getContext("2d");
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const { line, asked } = theme();
    const { blocks, order, pages, "page-size": page } = this.#order;
    const starts = new Map();
    const total = blocks.reduce((sum, { name, length }) => {
      starts.set(name, sum);
      return sum + length;
    }, 0);
    context.fillStyle = line;
    for (const start of starts.values()) context.fillRect(start / total * width, 0, 1, height);
    context.fillStyle = asked;
    context.globalAlpha = pages > 5000 ? 0.5 : 0.85;
    const dot = pages > 5000 ? 1.5 : 2.5;
    let place = 0;
    for (const { block, offset, length } of order) {
      const from = starts.get(block) + offset;
      for (let at = 0; at < length; at += page, place++) {
        context.fillRect((from + at) / total * width, place / pages * (height - dot), dot, dot);
      }
    }
  }
}
