/** Figures as people read them, and what is made of a migration's. Nothing here needs a browser. */

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** Three significant digits. */
function significant(value) {
  if (value === 0 || Number.isInteger(value)) return String(value);
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}

/** Bytes with a binary unit. */
export function bytes(count) {
  let unit = 0;
  let value = count;
  while (value >= 1024 && unit < BINARY.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${significant(unit === 0 ? Math.round(value) : value)} ${BINARY[unit]}`;
}

/** Bytes a second. */
export function rate(count) {
  return `${bytes(count)}/s`;
}

/** A whole number, its thousands apart. */
export function count(number) {
  return Math.round(number).toLocaleString("en-US");
}

/** A share of a whole: 100 % is said of all of it alone. */
export function share(part, whole) {
  if (whole === 0) return "0 %";
  const percent = part / whole * 100;
  return `${part < whole ? Math.min(Math.floor(percent * 10) / 10, 99.9) : 100} %`;
}

/** Microseconds with the unit that fits. */
export function duration(microseconds) {
  if (microseconds < 1000) return `${significant(microseconds)} µs`;
  if (microseconds < 1e6) return `${significant(microseconds / 1000)} ms`;
  return seconds(microseconds / 1e6);
}

/** Seconds; from a minute on minutes and seconds, from an hour on hours and minutes. */
export function seconds(time) {
  if (time < 59.95) return `${significant(time)} s`;
  const whole = Math.round(time);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours === 0 ? `${minutes} min ${whole % 60} s` : `${hours} h ${minutes} min`;
}

/** The lower limit of a latency bucket: bucket N counts [2^N us, 2^(N+1) us), as QEMU's do, and is named so. */
export function bucketLimit(bucket) {
  const unit = bucket < 10 ? "µs" : bucket < 20 ? "ms" : "s";
  return `${2 ** (bucket % 10)} ${unit}`;
}

/**
 * The bucket in which a share of all latencies, counted from the fastest, has been reached.
 *
 * @returns -1 when there are none
 */
export function percentileBucket(buckets, share) {
  const total = buckets.reduce((sum, each) => sum + each, 0);
  let sum = 0;
  if (total === 0) return -1;
  return buckets.findIndex((each) => (sum += each) >= total * share);
}

/** How the statuses are coloured, and said. */
const TONES = {
  "completed": "good",
  "postcopy-paused": "warn",
  "postcopy-recover": "warn",
  "failed": "bad",
  "cancelled": "bad",
};

/** `good`, `warn`, `bad`, or `""` for a status. */
export function tone(status) {
  return TONES[status] ?? "";
}

/** Whether a session with that status is over. */
export function isOver(status) {
  return ["completed", "failed", "cancelled"].includes(status);
}

/** Which way a session's memory goes, as a sentence would say it. */
export function whereTo({ direction, peer }) {
  return `${{ outgoing: "to", incoming: "from", lazy: "at" }[direction] ?? ""} ${peer}`.trim();
}

/**
 * What the page shows of a session, whichever direction it has; bytes, and undefined for what is not known.
 *
 * @param session as /v1/migrations tells of it
 */
export function figuresOf({ direction, statistics }) {
  if (direction === "outgoing") return outgoing(statistics);
  if (direction === "incoming") return incoming(statistics);
  return lazy(statistics);
}

function outgoing({ ram, multifd, order, ...statistics }) {
  const channels = multifd?.bytes ?? 0;
  return {
    total: ram.total,
    done: ram.total - ram.remaining,
    background: Math.max(0, ram.transferred - ram["postcopy-bytes"] - channels),
    urgent: ram["postcopy-bytes"],
    multifd: channels,
    requests: ram["postcopy-requests"],
    buckets: statistics["request-service-dist"],
    mean: statistics["request-service-time"] / 1000,
    timeToRun: statistics["time-to-run"],
    time: statistics["total-time"] / 1000,
    order,
  };
}

function incoming(statistics) {
  const size = statistics["page-size"];
  return {
    total: statistics.pages * size,
    done: (statistics.received + (statistics.status === "completed" ? statistics.unnamed : 0)) *
      size,
    background: statistics["main-bytes"],
    urgent: statistics["preempt-bytes"],
    multifd: statistics["multifd-bytes"] ?? 0,
    requests: 0,
    buckets: undefined,
    time: statistics["total-time"] / 1000,
  };
}

/** Of an image at a page server it is what has come of that, else what its processes have. */
function lazy({ processes = [], image }) {
  const sum = (name) => processes.reduce((total, each) => total + each[name], 0);
  const page = 4096;
  const placed = sum("urgent") + sum("background");
  return {
    total: image === undefined ? sum("total") : image.pages * page,
    done: image === undefined ? Math.min(sum("total"), placed * page) : image.received * page,
    background: sum("background") * page,
    urgent: sum("urgent") * page,
    multifd: 0,
    requests: sum("faults"),
    buckets: undefined,
    time: undefined,
    processes: processes.length,
    waiting: sum("waiting"),
  };
}
