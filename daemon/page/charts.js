/** Charts of a session: rates over time, and the histogram of fault latencies. uPlot draws them. */

import { fillTable, setText, the } from "./dom.js";
import { bucketLimit, count, duration, percentileBucket, rate } from "./format.js";
import { onTheme, theme } from "./theme.js";

const { uPlot } = globalThis;
const HEIGHT = 220;
/** Pixels of a bucket's name. */
const LABEL = 58;
/** Seconds that the rates show at least: a line that begins begins at the right. */
const SPAN = 20;
/** Distances of lines of bytes: powers of two, as their units are. */
const POWERS = Array.from({ length: 45 }, (_, power) => 2 ** power);

/** What both have in common: a uPlot in an element, made anew when the colours or what it shows change. */
class Chart {
  #element;
  #options;
  #plot;
  #data;
  #kind;

  /**
   * @param element where
   * @param options makes uPlot's options, without the size
   */
  constructor(element, options) {
    this.#element = element;
    this.#options = options;
    onTheme(() => this.#make());
    new ResizeObserver(() => this.#plot?.setSize(this.#size)).observe(element);
  }

  /**
   * Draws.
   *
   * @param data uPlot's
   * @param kind another one than before needs other options
   */
  draw(data, kind) {
    this.#data = data;
    const same = this.#plot !== undefined && kind === this.#kind;
    this.#kind = kind;
    if (same) this.#plot.setData(data);
    else this.#make();
  }

  /** Shows nothing. */
  clear() {
    this.#data = undefined;
    this.#destroy();
  }

  #destroy() {
    this.#element.classList.remove("drawn");
    this.#plot?.destroy();
    this.#plot = undefined;
  }

  get #size() {
    return { width: Math.max(200, this.#element.clientWidth), height: HEIGHT };
  }

  #make() {
    if (this.#data === undefined || this.#element.clientWidth === 0) return;
    this.#destroy();
    this.#element.classList.add("drawn");
    const options = { ...this.#options(this.#kind), ...this.#size };
    this.#plot = new uPlot(options, this.#data, this.#element);
  }
}

function axis(more) {
  const { quiet, line, font } = theme();
  return {
    stroke: quiet,
    font: `12px ${font}`,
    grid: { stroke: line, width: 1 },
    ticks: { show: false },
    ...more,
  };
}

const CURSOR = { drag: { x: false, y: false }, points: { size: 7 } };

/** Rates over time. */
export class RatesChart {
  #chart = new Chart(the("rates"), rateOptions);

  /**
   * Shows what a session's `History` has.
   *
   * @param withMultifd whether there are such channels
   * @param over whether nothing more comes
   */
  show({ times, background, urgent, multifd, requests, newest }, withMultifd, over) {
    if (times.length < 2) {
      this.#chart.clear();
      setText(
        the("rates-text"),
        over ? "It was over before this page looked." : "Nothing seen yet.",
      );
      return;
    }
    const data = [times, background, urgent, ...withMultifd ? [multifd] : [], requests];
    this.#chart.draw(data, withMultifd ? "multifd" : "");
    const most = background.reduce(
      (most, each, index) => Math.max(most, each + urgent[index] + multifd[index]),
      0,
    );
    const now = over
      ? ""
      : `Now ${rate(newest.bytes)} and ${count(newest.requests)} requests a second. `;
    setText(the("rates-text"), `${now}At most ${rate(most)} since this page looks.`);
  }
}

function rateOptions(kind) {
  const { placed, asked, quiet, multifd } = theme();
  const value = (_plot, bytes) => bytes === null ? "" : rate(bytes);
  const bytesLine = (label, stroke) => ({
    label,
    stroke,
    fill: `${stroke}22`,
    width: 2,
    scale: "bytes",
    value,
    points: { show: false },
  });
  return {
    cursor: CURSOR,
    legend: { live: false },
    scales: {
      x: { range: (_plot, first, last) => [Math.min(first, last - SPAN), last] },
      bytes: { range: (_plot, _least, most) => [0, Math.max(most * 1.1, 1024)] },
      requests: { range: (_plot, _least, most) => [0, Math.max(most * 1.1, 10)] },
    },
    axes: [
      axis({ values: (_plot, times) => times.map(clock), size: 30, space: 90 }),
      axis({
        scale: "bytes",
        incrs: POWERS,
        size: 78,
        values: (_plot, values) => values.map(rate),
      }),
      axis({
        scale: "requests",
        side: 1,
        size: 58,
        grid: { show: false },
        values: (_plot, values) => values.map((each) => `${count(each)}/s`),
      }),
    ],
    series: [
      { label: "Time", value: (_plot, time) => time === null ? "" : clock(time) },
      bytesLine("Background", placed),
      bytesLine("Asked for", asked),
      ...kind === "multifd" ? [bytesLine("Multifd", multifd)] : [],
      {
        label: "Requests",
        stroke: quiet,
        width: 1.5,
        dash: [4, 4],
        scale: "requests",
        points: { show: false },
      },
    ],
  };
}

function clock(time) {
  return new Date(time * 1000).toLocaleTimeString("en-GB");
}

/** How long requests took. */
export class LatencyChart {
  #chart = new Chart(the("latency"), latencyOptions);

  /** Shows the buckets of a session; undefined when nothing is asked for there. */
  show(buckets, mean) {
    const median = buckets === undefined ? -1 : percentileBucket(buckets, 0.5);
    if (median < 0) {
      this.#chart.clear();
      fillTable(the("latency-table"), []);
      setText(
        the("latency-text"),
        buckets === undefined
          ? "Nobody waits for pages here: the guest runs elsewhere."
          : "No page was asked for yet.",
      );
      return;
    }
    const first = Math.max(0, buckets.findIndex((each) => each > 0) - 1);
    const last = Math.min(buckets.length - 1, buckets.findLastIndex((each) => each > 0) + 1);
    const shown = Array.from({ length: last - first + 1 }, (_, index) => first + index);
    this.#chart.draw([shown, shown.map((bucket) => buckets[bucket])], `${first} ${last}`);
    const under = (share) => bucketLimit(percentileBucket(buckets, share) + 1);
    setText(
      the("latency-text"),
      `From a request read to its page sent: mean ${duration(mean)}, half below ${
        under(0.5)
      }, 99 % below ${under(0.99)}.`,
    );
    fillTable(
      the("latency-table"),
      shown.filter((bucket) => buckets[bucket] > 0).map((bucket) => [
        bucketLimit(bucket),
        bucketLimit(bucket + 1),
        count(buckets[bucket]),
      ]),
    );
  }
}

function latencyOptions(kind) {
  const [first, last] = kind.split(" ").map(Number);
  const { asked } = theme();
  const limits = Array.from({ length: last - first + 2 }, (_, index) => first + index);
  return {
    cursor: { ...CURSOR, points: { show: false } },
    legend: { show: false },
    scales: {
      x: { time: false, range: [first, last + 1] },
      y: { range: (_plot, _least, most) => [0, Math.max(most * 1.1, 4)] },
    },
    axes: [
      axis({
        grid: { show: false },
        splits: () => limits,
        size: 30,
        values: (plot, values) => {
          const each = Math.ceil(values.length * LABEL / plot.width);
          return values.map((bucket, index) => index % each === 0 ? bucketLimit(bucket) : "");
        },
      }),
      axis({
        size: 52,
        values: (_plot, values) => values.map((each) => Number.isInteger(each) ? count(each) : ""),
      }),
    ],
    series: [
      {},
      {
        stroke: asked,
        fill: asked,
        width: 0,
        paths: uPlot.paths.bars({ size: [1, Infinity], align: 1, gap: 3, radius: 0.08 }),
        points: { show: false },
      },
    ],
  };
}
