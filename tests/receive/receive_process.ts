/** `receive` in a process of its own. */

import type { ReceiveEvent } from "../../client/command/receive_report.ts";
import { parseSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { ScriptProcess } from "../support/processes.ts";

/** `client/main.ts receive`, which prints JSON. */
export class ReceiveProcess extends ScriptProcess {
  /** @param args beside `--listen` and `--json` */
  constructor(args: readonly string[]) {
    super("client/main.ts", ["receive", "--listen", "tcp:127.0.0.1:0", "--json", ...args]);
  }

  /** Where it listens. */
  async address(): Promise<SocketAddress> {
    return parseSocketAddress((await this.event("listening")).address);
  }

  /** Waits for an event that fulfils a condition. */
  async event<K extends ReceiveEvent["event"]>(
    kind: K,
    holds: (event: Extract<ReceiveEvent, { event: K }>) => boolean = () => true,
  ): Promise<Extract<ReceiveEvent, { event: K }>> {
    const found = await this.line(kind, (line) => {
      const event = JSON.parse(line) as Extract<ReceiveEvent, { event: K }>;
      return event.event === kind && holds(event) ? event : undefined;
    });
    if (found === undefined) throw new Error((await this.ended).errors);
    return found;
  }
}
