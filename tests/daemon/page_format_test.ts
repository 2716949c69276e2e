/** What the page makes of figures, without a browser. */
import { assertEquals } from "@std/assert";
import {
  bucketLimit,
  bytes,
  count,
  duration,
  figuresOf,
  percentileBucket,
  seconds,
  share,
  tone,
  whereTo,
} from "../../daemon/page/format.js";
import { History } from "../../daemon/page/history.js";

Deno.test("format writes bytes with three digits and a binary unit", () => {
  assertEquals(
    [0, 1, 1023, 1024, 1536, 10_240, 123 * 1024, 5 * 2 ** 30].map(bytes),
    ["0 B", "1 B", "1023 B", "1 KiB", "1.50 KiB", "10 KiB", "123 KiB", "5 GiB"],
  );
});

Deno.test("format writes times with the unit that fits, and minutes and hours by two of them", () => {
  assertEquals([118, 2500, 3_100_000].map(duration), ["118 µs", "2.50 ms", "3.10 s"]);
  assertEquals([1, 59.94, 60, 3599, 3600 + 65].map(seconds), [
    "1 s",
    "59.9 s",
    "1 min 0 s",
    "59 min 59 s",
    "1 h 1 min",
  ]);
});

Deno.test("format says 100 % of the whole alone", () => {
  assertEquals(
    [share(0, 0), share(1, 3), share(999_999, 1_000_000), share(5, 5)],
    ["0 %", "33.3 %", "99.9 %", "100 %"],
  );
  assertEquals(count(131_072), "131,072");
});

Deno.test("format names buckets as QEMU does, and finds the one of a percentile", () => {
  assertEquals([0, 6, 10, 20].map(bucketLimit), ["1 µs", "64 µs", "1 ms", "1 s"]);
  assertEquals(percentileBucket([0, 0, 0], 0.5), -1);
  assertEquals([0.5, 0.9, 0.99].map((share) => percentileBucket([0, 90, 9, 1], share)), [1, 1, 2]);
  assertEquals(percentileBucket([0, 90, 9, 1], 1), 3);
});

Deno.test("format colours what needs somebody, and says where memory goes", () => {
  assertEquals(["completed", "postcopy-paused", "failed", "active"].map(tone), [
    "good",
    "warn",
    "bad",
    "",
  ]);
  assertEquals(whereTo({ direction: "outgoing", peer: "tcp:h:1" }), "to tcp:h:1");
});

Deno.test("figuresOf parts an outgoing session's bytes by path", () => {
  const figures: Record<string, unknown> = figuresOf({
    direction: "outgoing",
    statistics: {
      "total-time": 2000,
      "time-to-run": 12,
      "request-service-time": 80_000,
      "request-service-dist": [0, 3],
      ram: {
        total: 8192,
        remaining: 4096,
        transferred: 1000,
        "postcopy-bytes": 300,
        "postcopy-requests": 3,
      },
      multifd: { bytes: 200 },
    },
  });
  assertEquals([figures.background, figures.urgent, figures.multifd], [500, 300, 200]);
  assertEquals([figures.done, figures.total, figures.mean, figures.time], [4096, 8192, 80, 2]);
});

Deno.test("figuresOf takes pages that nobody named for zero once an image is complete", () => {
  const statistics = {
    "page-size": 4096,
    pages: 10,
    received: 8,
    unnamed: 2,
    "main-bytes": 5,
    "preempt-bytes": 1,
    "total-time": 1000,
  };
  const done = (status: string) =>
    figuresOf({ direction: "incoming", statistics: { ...statistics, status } }).done;
  assertEquals([done("active"), done("completed")], [8 * 4096, 10 * 4096]);
});

Deno.test("figuresOf adds up the processes of a lazy session", () => {
  const process = { total: 40_960, faults: 3, urgent: 2, background: 4 };
  const figures: Record<string, unknown> = figuresOf({
    direction: "lazy",
    statistics: { processes: [process, process] },
  });
  assertEquals([figures.total, figures.done, figures.requests], [81_920, 12 * 4096, 6]);
  assertEquals([figures.urgent, figures.background, figures.buckets], [
    4 * 4096,
    8 * 4096,
    undefined,
  ]);
  const image = { pages: 100, received: 25 };
  const remote: Record<string, unknown> = figuresOf({
    direction: "lazy",
    statistics: { processes: [], image },
  });
  assertEquals([remote.total, remote.done, remote.processes], [100 * 4096, 25 * 4096, 0]);
});

Deno.test("History makes rates of figures, and none that are negative", () => {
  const history = new History();
  const figures = (background: number) => ({ background, urgent: 0, multifd: 0, requests: 0 });
  history.note(1000, figures(0));
  assertEquals(history.newest, undefined);
  history.note(3000, figures(4000));
  assertEquals([history.times, history.background], [[3], [2000]]);
  history.note(4000, figures(10)); // the daemon was started again
  assertEquals(history.newest, { bytes: 0, requests: 0 });
});

Deno.test("History keeps ten minutes", () => {
  const history = new History();
  for (let second = 0; second < 1000; second++) {
    history.note(second * 1000, { background: second, urgent: 0, multifd: 0, requests: 0 });
  }
  assertEquals([history.times.length, history.times[0], history.urgent.length], [600, 400, 600]);
});
