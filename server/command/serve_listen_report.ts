/** How a page server is told of: as plain data for programs, as text for people. */

import { warnLine } from "../../migration/command/output.ts";
import type { ProgressLine } from "../../migration/report/progress_line.ts";
import { formatBytes, formatCount } from "../../migration/report/units.ts";
import type { PageServerEvent, PageSessionStatistics } from "../listening/page_server_event.ts";

/** A line of `serve --listen --json`. */
export type ListenEvent =
  /** Ready for clients. */
  | {
    readonly event: "listening";
    readonly address: string;
    readonly images: readonly {
      readonly name: string;
      readonly path: string;
      readonly bytes: number;
    }[];
  }
  /** The figures so far of each client that is served. */
  | { readonly event: "progress"; readonly clients: readonly PageSessionStatistics[] }
  | PageServerEvent;

/** Says what ending it now does to the clients. */
export function neededText(clients: number): string {
  return `Needed by ${
    countText(clients)
  }: ended now, each of them waits at the next page that it ` +
    "lacks until there is a server again: press Ctrl-C again if that is meant";
}

/** Tells an event as text. */
export function tellListen(event: ListenEvent, line: ProgressLine): void {
  if (event.event === "progress") {
    const sum = (of: (each: PageSessionStatistics) => number) =>
      event.clients.reduce((all, each) => all + of(each), 0);
    return line.update(
      `${countText(event.clients.length)}, ${
        formatCount(sum(({ requests }) => requests))
      } pages asked ` +
        `for, ${formatBytes(sum(({ bytes }) => bytes))} sent`,
    );
  }
  line.clear();
  for (const text of textOf(event)) warnLine(text);
}

function textOf(event: Exclude<ListenEvent, { event: "progress" }>): string[] {
  switch (event.event) {
    case "listening":
      return [
        `Listening on ${event.address}`,
        ...event.images.map(({ name, path, bytes }) =>
          `Serving ${name}: ${path}, ${formatBytes(bytes)}`
        ),
      ];
    case "begun":
      return [`Client ${event.id}, ${event.client}: ${event.image}`];
    case "resumed":
      return [`Client ${event.id}, ${event.client}: goes on with ${event.image}`];
    case "ended": {
      const figures = `${formatCount(event.pages)} pages sent, ${
        formatCount(event.requests)
      } asked for`;
      return [
        event.complete
          ? `Client ${event.id} has all of ${event.image}: ${figures}`
          : `postcopy: Client ${event.id} does not have all of ${event.image}: ${figures}: ${event.reason}`,
      ];
    }
    case "refused":
      return [`postcopy: ${event.client}: ${event.reason}`];
    case "note":
      return [event.text];
  }
}

function countText(clients: number): string {
  return `${formatCount(clients)} ${clients === 1 ? "client" : "clients"}`;
}
