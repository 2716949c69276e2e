/** When a fault strikes. */

import type { FaultRelay, Relayed } from "../support/fault_relay.ts";
import type { DestinationEnd } from "./destination_ends.ts";
import type { Plan } from "./draw.ts";
import type { Channel, Moment } from "./draw_faults.ts";
import type { SourceEnd } from "./source_ends.ts";

/** First bytes of a main channel: of QEMU's header, and of a recovery's first command. */
const MAIN_FIRST = [0x51, 0x08];

/** The connections of a channel that there are, the newest link's. */
export function connectionsOf(relay: FaultRelay, channel: Channel, { mode, tls }: Plan): Relayed[] {
  const all = relay.connections.filter(({ isOver }) => !isOver);
  if (channel === "all") return all;
  if (tls !== undefined) {
    // Nothing can be seen but their order: a link's main channel comes first.
    const each = mode === "vanilla" ? 1 : 2;
    const main = Math.floor((all.length - 1) / each) * each;
    return all.slice(channel === "main" ? main : main + 1).slice(0, 1);
  }
  const main = all.findLastIndex(({ first }) => MAIN_FIRST.includes(first));
  if (channel === "main") return main < 0 ? [] : [all[main]!];
  return all.slice(main + 1).filter(({ first }) => !MAIN_FIRST.includes(first)).slice(-1);
}

/** Whether a moment has come. */
export function hasCome(
  moment: Moment,
  relay: FaultRelay,
  source: SourceEnd,
  destination: DestinationEnd,
  plan: Plan,
): boolean {
  switch (moment.kind) {
    case "bytes":
      return connectionsOf(relay, moment.channel, plan).some(({ passed }) =>
        passed >= moment.bytes
      );
    case "status":
      return (moment.end === "source" ? source : destination).status === moment.status;
    case "pages":
      return destination.received >= moment.pages && destination.status !== "setup";
  }
}
