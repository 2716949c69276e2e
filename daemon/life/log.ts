/** The daemon's log: a line an event, as text or as JSON, in which each session has its name. */

import {
  configureSync,
  getLogger,
  getTextFormatter,
  jsonLinesFormatter,
  type Logger,
  type LogRecord,
  resetSync,
} from "../npm/logtape.ts";
import { redact, redactText } from "./redact.ts";

/** How a log is written. */
export const LOG_FORMATS = ["text", "json"] as const;
/** See {@linkcode LOG_FORMATS}. */
export type LogFormat = typeof LOG_FORMATS[number];
/** What is written at least, the least important first. */
export const LOG_LEVELS = ["debug", "info", "warning", "error"] as const;
/** See {@linkcode LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** How to log. */
export interface LogOptions {
  readonly format: LogFormat;
  readonly level: LogLevel;
  /** Takes a line, with its end; default standard error. */
  readonly write?: (line: string) => void;
  /** Whether systemd's journal reads it, which has its own time and knows lines by their level; default: looked at. */
  readonly journal?: boolean;
}

const CATEGORY = ["postcopy"];

/** sd-daemon(3): what a line for the journal begins with. */
const PRIORITIES: Readonly<Record<string, string>> = {
  debug: "<7>",
  info: "<6>",
  warning: "<4>",
  error: "<3>",
  fatal: "<2>",
};

/** The log of this process. Opening another replaces it. */
export class DaemonLog implements Disposable {
  /** Writes to it; properties of a line are its second argument. */
  readonly logger: Logger;

  /** @param options how to log */
  constructor(options: LogOptions) {
    this.logger = getLogger(CATEGORY);
    this.change(options);
  }

  /** Goes on otherwise. */
  change({ format, level, write = writeError, journal = isJournal() }: LogOptions): void {
    const line = format === "json" ? jsonLine : journal ? journalLine : textLine;
    const sink = (record: LogRecord): void => write(line(cleaned(record)));
    configureSync({
      reset: true,
      sinks: { log: sink },
      loggers: [
        { category: CATEGORY, lowestLevel: level, sinks: ["log"] },
        { category: ["logtape", "meta"], lowestLevel: "warning", sinks: ["log"] },
      ],
    });
  }

  /** Ends it; what is logged from now on is written nowhere. */
  [Symbol.dispose](): void {
    resetSync();
  }
}

function cleaned(record: LogRecord): LogRecord {
  return {
    ...record,
    message: record.message.map((part) => typeof part === "string" ? redactText(part) : part),
    properties: redact(record.properties) as Record<string, unknown>,
  };
}

const plain = getTextFormatter({
  timestamp: "rfc3339",
  level: (level) => level.padEnd(7),
  format: ({ timestamp, level, message, record }) =>
    `${timestamp} ${level} ${oneLine(message)}${propertiesText(record.properties)}`,
});

function textLine(record: LogRecord): string {
  return plain(record);
}

const bare = getTextFormatter({
  format: ({ message, record }) => `${oneLine(message)}${propertiesText(record.properties)}`,
});

function journalLine(record: LogRecord): string {
  return `${PRIORITIES[record.level] ?? ""}${bare(record)}`;
}

const asJson = jsonLinesFormatter;

function jsonLine(record: LogRecord): string {
  return asJson(record);
}

/** A line is one event: what a peer says cannot begin another. */
function oneLine(text: string): string {
  return text.replaceAll(/\r?\n/g, " | ");
}

/** Properties as logfmt writes them. */
function propertiesText(properties: Readonly<Record<string, unknown>>): string {
  return Object.entries(properties).map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value) ?? "";
    return ` ${name}=${/^[\w.:/@%+,-]+$/.test(text) ? text : JSON.stringify(text)}`;
  }).join("");
}

/** Whether standard error is the journal: its device and inode are named in JOURNAL_STREAM (systemd.exec(5)). */
function isJournal(): boolean {
  const stream = Deno.env.get("JOURNAL_STREAM");
  if (stream === undefined) return false;
  try {
    const { dev, ino } = Deno.statSync("/proc/self/fd/2");
    return stream === `${dev}:${ino}`;
  } catch {
    return false;
  }
}

const encoder = new TextEncoder();

function writeError(line: string): void {
  try {
    const bytes = encoder.encode(line);
    for (let at = 0; at < bytes.length;) at += Deno.stderr.writeSync(bytes.subarray(at));
  } catch {
    // Nobody reads it, which is no reason to end what guests need.
  }
}
