/** One session: its figures, its charts, and what can be done with it. */

import { LatencyChart, RatesChart } from "./charts.js";
import { keyed, make, setAttribute, setText, show, the } from "./dom.js";
import { bytes, count, figuresOf, isOver, rate, seconds, share, tone, whereTo } from "./format.js";
import { MemoryMap } from "./memory_map.js";
import { OrderPicture } from "./order_picture.js";

/** Lines that are kept of what happened to a session. */
const LOG_LINES = 200;

/** The part of the page that shows a session. */
export class Detail {
  #article = the("detail");
  #map = new MemoryMap();
  #rates = new RatesChart();
  #latency = new LatencyChart();
  #order = new OrderPicture();
  #shown;
  #over;
  #awaited = false;

  /** How many cells its map has room for. */
  get cells() {
    return this.#map.cells;
  }

  /** Puts the focus there, now or when there is a session. */
  focus() {
    this.#awaited = this.#article.hidden;
    this.#article.focus();
  }

  /**
   * Shows a session.
   *
   * @param session as /v1/migrations tells of it; undefined: none
   * @param history of its figures
   * @param log what happened to it: `time` and `text`, the newest last
   */
  show(session, history, log) {
    show(this.#article, session !== undefined);
    if (session === undefined) return void (this.#shown = undefined);
    if (this.#awaited) this.focus();
    const over = isOver(session.status);
    if (session.id !== this.#shown) this.#map.clear();
    // What was touched is recorded when it ends.
    if (session.id !== this.#shown || over !== this.#over) {
      this.#order.show(session.direction === "outgoing" ? session.image : undefined);
    }
    this.#shown = session.id;
    this.#over = over;
    // Who is served on demand has its memory, and its faults, elsewhere.
    for (const panel of document.querySelectorAll("[data-of=migrations]")) {
      show(panel, session.direction !== "lazy", this.#article);
    }
    const figures = figuresOf(session);
    this.#head(session);
    this.#progress(session, figures, history);
    this.#rates.show(history, figures.multifd > 0, over);
    this.#latency.show(figures.buckets, figures.mean);
    this.#actions(session);
    this.#happened(log);
  }

  /** Shows the map of the session that is shown; undefined when there is none. */
  showMap(id, map) {
    if (id === this.#shown) this.#map.show(map);
  }

  #head(session) {
    const { image, status, reason, remedy, recover } = session;
    setText(the("detail-title"), image);
    setText(the("detail-status"), status);
    setAttribute(the("detail-status"), "data-tone", tone(status));
    setText(the("detail-peer"), whereTo(session));
    this.#article.classList.toggle("paused", status === "postcopy-paused");
    show(the("reason"), reason !== undefined);
    setAttribute(the("reason"), "data-tone", tone(status));
    setText(the("reason-text"), reason ?? "");
    setText(the("reason-remedy"), remedy ?? "");
    show(the("reason-remedy"), remedy !== undefined);
    show(the("reason-recover"), recover !== undefined);
    setText(the("reason-recover").querySelector("code"), recover ?? "");
  }

  #progress({ status, startedAt, endedAt }, figures, { newest }) {
    const { done, total, timeToRun, order, processes } = figures;
    the("progress").value = total > 0 ? done / total : 0;
    const left = total - done;
    const speed = isOver(status) ? 0 : newest?.bytes ?? 0;
    const parts = [`${share(done, total)} of ${bytes(total)}`];
    if (left > 0) parts.push(`${bytes(left)} left`);
    if (left > 0 && speed > 1024) parts.push(`about ${seconds(Math.ceil(left / speed))} to go`);
    const none = total === 0 && processes === 0;
    setText(the("progress-text"), none ? "No process needs it" : parts.join(", "));
    const sent = figures.background + figures.urgent + figures.multifd;
    const time = figures.time ??
      (Date.parse(endedAt ?? new Date().toISOString()) - Date.parse(startedAt)) / 1000;
    const rows = [
      ["Time", seconds(time)],
      ...processes === undefined
        ? [
          ["Guest ran after", timeToRun === undefined ? "–" : `${count(timeToRun)} ms`],
          ["Went over the wire", bytes(sent)],
        ]
        : [
          ["Processes", count(processes)],
          ["Faults that wait", count(figures.waiting)],
          ["Was placed", bytes(sent)],
        ],
      ["Now", rate(speed)],
      ["Pages asked for", count(figures.requests)],
      ["Bytes for these", bytes(figures.urgent)],
    ];
    if (order !== undefined) {
      rows.push(["Prefetched, late", `${count(order.late)} of ${count(order.planned)}`]);
      rows.push(["Prefetched, unasked", count(order.unasked)]);
    }
    keyed(
      the("figures"),
      rows.map(([name, value]) => ({ key: name, name, value })),
      ({ name }) => make("div", "", make("dt", "", name), make("dd", "")),
      (row, { value }) => setText(row.lastElementChild, value),
    );
  }

  #actions({ direction, status, statistics }) {
    const over = isOver(status);
    const lazy = direction === "lazy";
    const may = {
      pause: ["postcopy-active", "postcopy-recover"].includes(status),
      recover: status === "postcopy-paused",
      postcopy: status === "active" && statistics.multifd !== undefined,
      limit: direction === "outgoing" && !over,
      cancel: !over,
      remove: over,
    };
    for (const [action, can] of Object.entries(may)) {
      const shown = can && !(lazy && !["cancel", "remove"].includes(action));
      show(the(action), shown, this.#article);
    }
  }

  #happened(log) {
    const list = the("log");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 8;
    keyed(
      list,
      log.slice(-LOG_LINES).map((line) => ({ key: String(line.id), ...line })),
      ({ time, text }) => {
        const when = make("time", "", new Date(time).toLocaleTimeString("en-GB"));
        when.dateTime = time;
        return make("li", "", when, make("span", "", text));
      },
      () => {},
    );
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}
