/** `GET /metrics`: what Prometheus reads, put together when it asks. */

import { type Metric, Registry } from "../npm/prom_client.ts";
import type { EventLog, LoggedEvent } from "../service/event_log.ts";
import { type Direction, SESSION_STATUSES, type SessionView } from "../service/session.ts";
import { VERSION } from "../../migration/command/version.ts";
import { Accounts } from "./accounts.ts";
import { type FigureKey, FIGURES, type Readings } from "./figures.ts";
import { processFamilies } from "./process_figures.ts";
import { type Family, type Sample, samplesOf } from "./samples.ts";

const DIRECTIONS: readonly Direction[] = ["outgoing", "incoming", "lazy"];
const ENDS = ["completed", "failed", "cancelled"] as const;

/** Milliseconds for which a session that has ended keeps series of its own: five scrapes of a slow Prometheus. */
const RETAINED = 300_000;
/** Sessions that have series of their own at most, the newest: each has about 60. All count in the totals. */
const MOST_SESSIONS = 256;

/** Whose figures they are. */
export interface Figured {
  readonly events: EventLog;
  list(): readonly SessionView[];
}

/** How many series there may be. */
export interface MetricsOptions {
  /** Milliseconds for which an ended session has some; default five minutes. */
  readonly retained?: number;
  /** Sessions that have some; default 256. */
  readonly mostSessions?: number;
}

/** Sessions that began, and that ended, by how. */
interface Counts {
  started: number;
  readonly ended: Record<typeof ENDS[number], number>;
}

/** The metrics of one service. */
export class Metrics implements Disposable {
  readonly #service: Figured;
  readonly #retained: number;
  readonly #mostSessions: number;
  readonly #accounts = new Accounts();
  readonly #counts = new Map<Direction, Counts>(
    DIRECTIONS.map((direction) => [
      direction,
      { started: 0, ended: { completed: 0, failed: 0, cancelled: 0 } },
    ]),
  );
  /** Of sessions that run, where each stood last. */
  readonly #statuses = new Map<string, { readonly direction: Direction; status: string }>();
  readonly #listening: Disposable;

  /**
   * Counts from now on.
   *
   * @param service whose figures they are
   */
  constructor(service: Figured, options: MetricsOptions = {}) {
    this.#service = service;
    this.#retained = options.retained ?? RETAINED;
    this.#mostSessions = options.mostSessions ?? MOST_SESSIONS;
    const { since } = service.events;
    for (const session of service.list()) { // also such as are gone on with from a daemon before
      const { endedAt } = session;
      if (endedAt === undefined || Date.parse(endedAt) >= since) this.#begin(session);
    }
    this.#listening = service.events.listen((event) => this.#hear(event));
  }

  /** The media type of the text. */
  static readonly contentType: string = Registry.PROMETHEUS_CONTENT_TYPE;

  /** All figures as they are now, in Prometheus' text format. */
  async text(): Promise<string> {
    const registry = new Registry();
    for (const family of this.families()) {
      // The registry asks for no more than this of what it writes, and these have their values already.
      const metric = { ...family, aggregator: "sum", get: () => family };
      registry.registerMetric(metric as unknown as Metric<string>);
    }
    return await registry.metrics();
  }

  /** The same before it is text. */
  families(): Family[] {
    const sessions = this.#service.list();
    const read = new Map(sessions.map((view) => [view.id, this.#accounts.read(view)]));
    this.#accounts.keepOnly(new Set(read.keys()));
    const shown = this.#shown(sessions);
    return [
      ...this.#serviceFamilies(sessions),
      ...sessionFamilies(shown),
      ...(Object.keys(FIGURES) as FigureKey[]).flatMap((key) =>
        this.#figureFamilies(key, shown, read)
      ),
      ...processFamilies(),
    ];
  }

  /** Stops counting. */
  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }

  #hear({ event }: LoggedEvent): void {
    if (event.event === "started") this.#begin(event.session);
    else if (event.event === "status") this.#move(event.id, event.status);
    else if (event.event === "ended") this.#end(event.session);
  }

  #begin(session: SessionView): void {
    const { id, direction, status } = session;
    this.#statuses.set(id, { direction, status });
    this.#counts.get(direction)!.started++;
    if (direction !== "lazy") {
      for (const key of ["pauses", "recoveries"] as const) this.#accounts.count(session, key, 0);
    }
    if (session.endedAt !== undefined) this.#end(session);
  }

  #end(session: SessionView): void {
    const { id, direction, status } = session;
    // Its last figures count, though it may be forgotten before the next scrape.
    this.#accounts.read(session);
    this.#statuses.delete(id);
    if (isEnd(status)) this.#counts.get(direction)!.ended[status]++;
  }

  #move(id: string, status: string): void {
    const known = this.#statuses.get(id);
    if (known === undefined) return;
    const { direction, status: before } = known;
    known.status = status;
    if (status === before) return;
    if (status === "postcopy-paused") this.#accounts.count({ id, direction }, "pauses");
    if (before !== "postcopy-recover") return;
    if (status === "postcopy-active" || status === "completed") {
      this.#accounts.count({ id, direction }, "recoveries");
    }
  }

  /** Sessions that have series of their own. */
  #shown(sessions: readonly SessionView[]): SessionView[] {
    const since = Date.now() - this.#retained;
    return sessions.filter(({ endedAt }) => endedAt === undefined || Date.parse(endedAt) > since)
      // Those that run come before those that are over, and the newer before the older.
      .sort((one, other) => rank(other) - rank(one))
      .slice(0, this.#mostSessions);
  }

  #serviceFamilies(sessions: readonly SessionView[]): Family[] {
    const started: Sample[] = [];
    const ended: Sample[] = [];
    const now: Sample[] = [];
    for (const [direction, counts] of this.#counts) {
      started.push({ labels: { direction }, value: counts.started });
      for (const status of ENDS) {
        ended.push({ labels: { direction, status }, value: counts.ended[status] });
      }
      for (const status of SESSION_STATUSES) {
        const value = sessions.filter((each) =>
          each.direction === direction && each.status === status
        ).length;
        now.push({ labels: { direction, status }, value });
      }
    }
    return [
      {
        name: "postcopy_build_info",
        help: "The version that runs; always 1.",
        type: "gauge",
        values: [{ labels: { version: VERSION }, value: 1 }],
      },
      {
        name: "postcopy_sessions",
        help: "Sessions by status; those that have ended are kept for a while.",
        type: "gauge",
        values: now,
      },
      {
        name: "postcopy_sessions_started_total",
        help: "Sessions that were started.",
        type: "counter",
        values: started,
      },
      {
        name: "postcopy_sessions_ended_total",
        help: "Sessions that have ended, by how.",
        type: "counter",
        values: ended,
      },
    ];
  }

  /** A figure of each session, and of what counts the totals. */
  #figureFamilies(
    key: FigureKey,
    shown: readonly SessionView[],
    read: ReadonlyMap<string, Readings>,
  ): Family[] {
    const { name, help, type } = FIGURES[key];
    const families: Family[] = [{
      name: `postcopy_session_${name}`,
      help,
      type,
      values: shown.flatMap((view) => samplesOf(key, read.get(view.id)!.get(key), labelsOf(view))),
    }];
    if (type === "gauge") return families;
    const totals = DIRECTIONS.flatMap((direction) =>
      samplesOf(key, this.#accounts.totals(direction).get(key), { direction })
    );
    families.push({
      name: `postcopy_${name}`,
      help: `${help} All sessions.`,
      type,
      values: totals,
    });
    return families;
  }
}

/** What is said of a session itself. */
function sessionFamilies(shown: readonly SessionView[]): Family[] {
  return [
    {
      name: "postcopy_session_info",
      help: "The other end of a session; always 1.",
      type: "gauge",
      values: shown.map((view) => ({ labels: { ...labelsOf(view), peer: view.peer }, value: 1 })),
    },
    {
      name: "postcopy_session_status",
      help: "1 for the status that a session has, 0 for all others.",
      type: "gauge",
      values: shown.flatMap((view) =>
        SESSION_STATUSES.map((status) => ({
          labels: { ...labelsOf(view), status },
          value: view.status === status ? 1 : 0,
        }))
      ),
    },
    {
      name: "postcopy_session_start_time_seconds",
      help: "When a session began, in seconds since 1970.",
      type: "gauge",
      values: shown.map((view) => ({
        labels: labelsOf(view),
        value: Date.parse(view.startedAt) / 1000,
      })),
    },
  ];
}

function labelsOf({ id, direction, image }: SessionView): Record<string, string> {
  return { session: id, direction, image };
}

/** Greater for what is wanted more: a session that runs, a newer one. */
function rank({ endedAt, startedAt }: SessionView): number {
  return Date.parse(endedAt ?? startedAt) + (endedAt === undefined ? 1e15 : 0);
}

function isEnd(status: string): status is typeof ENDS[number] {
  return (ENDS as readonly string[]).includes(status);
}
