/** What Prometheus reads of sessions, whatever becomes of these. */
import { assert, assertEquals } from "@std/assert";
import { cumulative } from "../../daemon/metrics/buckets.ts";
import { Metrics, type MetricsOptions } from "../../daemon/metrics/metrics.ts";
import { EventLog } from "../../daemon/service/event_log.ts";
import type { SessionStatus, SessionView } from "../../daemon/service/session.ts";
import { LatencyHistogram } from "../../migration/threads/histogram.ts";
import { outgoingView, sourceFigures } from "./sessions.ts";

/** A service of which a test says what sessions it has. */
class Told {
  readonly events = new EventLog();
  sessions: SessionView[] = [];
  readonly metrics: Metrics;

  constructor(options?: MetricsOptions) {
    this.metrics = new Metrics(this, options);
  }

  list(): readonly SessionView[] {
    return this.sessions;
  }

  start(session: SessionView): void {
    this.sessions.push(session);
    this.events.add({ event: "started", session });
  }

  move(id: string, status: SessionStatus): void {
    this.events.add({ event: "status", id, status });
  }

  end(session: SessionView): void {
    this.sessions = this.sessions.map((each) => each.id === session.id ? session : each);
    this.events.add({ event: "ended", session });
  }
}

/** The series of the text, each with its labels, and their values. */
async function read(metrics: Metrics): Promise<Map<string, number>> {
  const lines = (await metrics.text()).split("\n").filter((line) => /^[a-z]/.test(line));
  return new Map(lines.map((line) => {
    const space = line.lastIndexOf(" ");
    return [line.slice(0, space), Number(line.slice(space + 1))];
  }));
}

/** The labels of the session that {@linkcode outgoingView} makes. */
const OF_A1 = 'session="a1",direction="outgoing",image="vm"';

Deno.test("cumulative turns the statistics' buckets into Prometheus', in seconds", () => {
  const histogram = new LatencyHistogram();
  for (const microseconds of [0.5, 1.5, 3, 3.9, 100, 20e6]) histogram.record(microseconds * 1000);
  const buckets = cumulative(histogram.buckets());
  assertEquals(buckets.length, 24);
  const counts = new Map(buckets.map(({ le, count }) => [le, count]));
  assertEquals(
    ["0.000002", "0.000004", "0.000064", "0.000128", "8.388608", "+Inf"].map((le) =>
      counts.get(le)
    ),
    [2, 4, 4, 5, 5, 6],
  );
  // Each latency is counted below every limit that is greater, and below none that is smaller.
  for (const { le, count } of buckets) {
    const limit = le === "+Inf" ? Infinity : Number(le) * 1e6;
    assertEquals(count, [0.5, 1.5, 3, 3.9, 100, 20e6].filter((each) => each < limit).length, le);
  }
});

Deno.test("Metrics tells a session's bytes by path, its pages, faults, order and processor time", async () => {
  const told = new Told();
  const order = { planned: 10, early: 4, late: 1, unasked: 5 };
  told.start(outgoingView({
    statistics: sourceFigures({ background: 700, urgent: 300, multifd: 50, requests: 3, order }),
  }));
  const series = await read(told.metrics);
  const of = (name: string, label = "") => series.get(`postcopy_session_${name}{${OF_A1}${label}}`);
  assertEquals(
    ["background", "urgent", "multifd"].map((path) =>
      of("transferred_bytes_total", `,path="${path}"`)
    ),
    [700, 300, 50],
  );
  assertEquals([of("faults_total"), of("pages_total", ',content="zero"')], [3, 4]);
  assertEquals([of("memory_bytes"), of("remaining_bytes")], [1 << 20, 0]);
  assertEquals(
    ["early_pages_total", "late_pages_total", "planned_pages", "unasked_pages"].map((name) =>
      of(`prefetch_${name}`)
    ),
    [4, 1, 10, 5],
  );
  assertEquals(of("cpu_seconds_total", ',work="compress"')!.toFixed(3), "0.300");
  assertEquals(of("status", ',status="postcopy-active"'), 1);
  assertEquals(of("status", ',status="failed"'), 0);
  assertEquals(series.get(`postcopy_session_info{${OF_A1},peer="tcp:127.0.0.1:4444"}`), 1);
  assertEquals(
    series.get('postcopy_transferred_bytes_total{direction="outgoing",path="background"}'),
    700,
  );
});

Deno.test("Metrics' histogram counts as many as its last bucket, and its sum is in seconds", async () => {
  const told = new Told();
  told.start(outgoingView({ statistics: sourceFigures({ buckets: [0, 0, 2, 1], took: 20_000 }) }));
  const series = await read(told.metrics);
  for (const [name, labels] of [["session_", OF_A1], ["", 'direction="outgoing"']]) {
    const of = (end: string, more = "") =>
      series.get(`postcopy_${name}fault_service_seconds_${end}{${labels}${more}}`);
    const le = ["0.000004", "0.000008", "0.000016", "+Inf"];
    assertEquals(le.map((each) => of("bucket", `,le="${each}"`)), [0, 2, 3, 3]);
    assertEquals([of("count"), of("sum")!.toFixed(9)], [3, "0.000020000"]);
  }
});

Deno.test("Metrics' totals never go back: not when a session is forgotten, nor when a count is torn", async () => {
  const told = new Told();
  const session = outgoingView({ statistics: sourceFigures({ background: 500 }) });
  told.start(session);
  const total = 'postcopy_transferred_bytes_total{direction="outgoing",path="background"}';
  assertEquals((await read(told.metrics)).get(total), 500);
  // As a thread's counters may be read: one half is older than the other.
  told.sessions = [outgoingView({ statistics: sourceFigures({ background: 400 }) })];
  assertEquals((await read(told.metrics)).get(total), 500);
  // What it sent after the last scrape counts too, though nobody sees it any more at the next.
  told.end(outgoingView({
    status: "completed",
    endedAt: new Date().toISOString(),
    statistics: sourceFigures({ background: 900 }),
  }));
  told.sessions = [];
  assertEquals((await read(told.metrics)).get(total), 900);
  told.start(outgoingView({ id: "b2", statistics: sourceFigures({ background: 50 }) }));
  assertEquals((await read(told.metrics)).get(total), 950);
});

Deno.test("Metrics' totals of a lazy session keep what processes counted that are gone", async () => {
  const told = new Told();
  const process = (pid: number, faults: number) => ({
    ...{ pid, faults, total: 8192, urgent: 1, background: 1, removed: 0, parked: 0, poisoned: 0 },
    waiting: 1,
  });
  const lazy = (...processes: ReturnType<typeof process>[]) =>
    outgoingView({ direction: "lazy", status: "active", statistics: { processes } });
  told.start(lazy(process(1, 10), process(2, 20)));
  const total = 'postcopy_faults_total{direction="lazy"}';
  const waiting = 'postcopy_session_waiting_faults{session="a1",direction="lazy",image="vm"}';
  let series = await read(told.metrics);
  assertEquals([series.get(total), series.get(waiting)], [30, 2]);
  told.sessions = [lazy(process(2, 21), process(3, 1))];
  series = await read(told.metrics);
  assertEquals([series.get(total), series.get(waiting)], [10 + 21 + 1, 2]);
});

Deno.test("Metrics tells what an incoming session got, and whom it turned away", async () => {
  const told = new Told();
  told.start(outgoingView({
    direction: "incoming",
    status: "active",
    refusals: { tls: 2, network: 0, silent: 1 },
    statistics: {
      ...{ status: "active", "total-time": 10, "page-size": 4096, pages: 10, received: 4 },
      ...{ normal: 3, duplicate: 1, remaining: 0, unnamed: 6, duplicates: 0 },
      ...{ "written-bytes": 12_288, "main-bytes": 100, "preempt-bytes": 20 },
    },
  }));
  const series = await read(told.metrics);
  const of = (name: string, label = "") =>
    series.get(`postcopy_session_${name}{session="a1",direction="incoming",image="vm"${label}}`);
  assertEquals(
    ["tls", "network", "silent"].map((reason) =>
      of("handshakes_refused_total", `,reason="${reason}"`)
    ),
    [2, 0, 1],
  );
  assertEquals([of("memory_bytes"), of("remaining_bytes")], [10 * 4096, 6 * 4096]);
  assertEquals(of("transferred_bytes_total", ',path="urgent"'), 20);
  const total = 'postcopy_handshakes_refused_total{direction="incoming",reason="tls"}';
  assertEquals(series.get(total), 2);
});

Deno.test("Metrics counts sessions that were there before it", async () => {
  const events = new EventLog();
  const over = outgoingView({ id: "over", status: "failed", endedAt: new Date().toISOString() });
  // A daemon before has counted this one.
  const long = outgoingView({ id: "long", status: "failed", endedAt: "2020-01-01T00:00:00Z" });
  using metrics = new Metrics({ events, list: () => [long, outgoingView(), over] });
  events.add({ event: "status", id: "a1", status: "postcopy-paused" });
  const series = await read(metrics);
  assertEquals(series.get('postcopy_sessions_started_total{direction="outgoing"}'), 2);
  assertEquals(
    series.get('postcopy_sessions_ended_total{direction="outgoing",status="failed"}'),
    1,
  );
  assertEquals(series.get(`postcopy_session_pauses_total{${OF_A1}}`), 1);
});

Deno.test("Metrics counts pauses and recoveries as they happen", async () => {
  const told = new Told();
  told.start(outgoingView());
  const counts = async () => {
    const series = await read(told.metrics);
    return ["pauses", "recoveries"].map((name) =>
      series.get(`postcopy_session_${name}_total{${OF_A1}}`)
    );
  };
  assertEquals(await counts(), [0, 0]);
  told.move("a1", "postcopy-paused");
  told.move("a1", "postcopy-paused"); // for another reason
  assertEquals(await counts(), [1, 0]);
  told.move("a1", "postcopy-recover");
  told.move("a1", "postcopy-paused");
  assertEquals(await counts(), [2, 0]);
  told.move("a1", "postcopy-recover");
  told.move("a1", "postcopy-active");
  assertEquals(await counts(), [2, 1]);
});

Deno.test("Metrics forgets the series of a session some time after its end, and counts how it ended", async () => {
  const told = new Told({ retained: 60_000 });
  const ended = (ago: number) =>
    outgoingView({ status: "failed", endedAt: new Date(Date.now() - ago).toISOString() });
  told.start(outgoingView());
  told.end(ended(1000));
  const own = (series: Map<string, number>) =>
    [...series.keys()].filter((name) => name.includes('session="a1"')).length;
  let series = await read(told.metrics);
  assert(own(series) > 20);
  told.sessions = [ended(61_000)];
  series = await read(told.metrics);
  assertEquals(own(series), 0);
  const count = (name: string, labels: string) =>
    series.get(`postcopy_sessions${name}{direction="outgoing"${labels}}`);
  assertEquals(count("_started_total", ""), 1);
  assertEquals(count("_ended_total", ',status="failed"'), 1);
  assertEquals(count("_ended_total", ',status="completed"'), 0);
  assertEquals(count("", ',status="failed"'), 1);
  assertEquals(series.get('postcopy_pages_total{direction="outgoing",content="data"}'), 11);
});

Deno.test("Metrics gives so many sessions series of their own, those that run and are new first", async () => {
  const told = new Told({ mostSessions: 2 });
  const at = (minute: number) => `2026-11-29T12:0${minute}:00.000Z`;
  told.start(outgoingView({ id: "old", startedAt: at(1) }));
  told.start(outgoingView({ id: "new", startedAt: at(3) }));
  told.start(outgoingView({ id: "mid", startedAt: at(2) }));
  told.start(
    outgoingView({ id: "over", status: "completed", endedAt: new Date().toISOString() }),
  );
  const series = await read(told.metrics);
  const ids = new Set([...series.keys()].map((name) => /session="(\w+)"/.exec(name)?.[1]));
  assertEquals([...ids].filter((id) => id !== undefined).sort(), ["mid", "new"]);
  assertEquals(series.get('postcopy_pages_total{direction="outgoing",content="data"}'), 44);
});

Deno.test("Metrics' text has a help and a type for each name, once, and a value for every series", async () => {
  const told = new Told();
  told.start(outgoingView({ image: 'a "quoted"\\name' }));
  const text = await told.metrics.text();
  const names = [...text.matchAll(/^# TYPE (\S+) (counter|gauge|histogram)$/gm)];
  assertEquals(names.length, new Set(names.map(([, name]) => name)).size);
  for (const [, name, type] of names) {
    assert(text.includes(`# HELP ${name} `), name);
    assertEquals(name!.endsWith("_total"), type === "counter", name);
  }
  assert(text.includes('image="a \\"quoted\\"\\\\name"'));
  for (const line of text.split("\n").filter((line) => line !== "" && !line.startsWith("#"))) {
    const [, name, value] = /^([a-z_]+)(?:\{.*\})? (\S+)$/.exec(line)!;
    const family = name!.replace(/_(bucket|sum|count)$/, "");
    assert(names.some(([, each]) => each === name || each === family), line);
    assert(Number.isFinite(Number(value)), line);
  }
});
