/** The end of sd_notify(3) that a service manager has. */

import { errno, libc } from "../../ffi/libc.ts";
import { unixSockaddr } from "../../ffi/service_manager.ts";
import { until } from "../support/deadline.ts";

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 2 | 0o2000000;
const MSG_DONTWAIT = 0x40;

/** A datagram socket of a name, and what came there. */
export class NotifySocket implements Disposable {
  /** As NOTIFY_SOCKET has it. */
  readonly name: string;
  /** Messages so far, each with its assignments. */
  readonly messages: Readonly<Record<string, string>>[] = [];
  readonly #buffer = new Uint8Array(4096);
  #fd: number;

  constructor(name: string) {
    this.name = name;
    this.#fd = libc().socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
    const address = unixSockaddr(name)!;
    if (libc().bind(this.#fd, address, address.length) < 0) throw new Error(`bind: ${errno()}`);
  }

  /** Takes what has come. */
  take(): readonly Readonly<Record<string, string>>[] {
    for (
      let count: number;
      (count = libc().recv(this.#fd, this.#buffer, 4096, MSG_DONTWAIT)) > 0;
    ) {
      const text = new TextDecoder().decode(this.#buffer.subarray(0, count));
      this.messages.push(Object.fromEntries(
        text.split("\n").map((line) => {
          const at = line.indexOf("=");
          return [line.slice(0, at), line.slice(at + 1)];
        }),
      ));
    }
    return this.messages;
  }

  /** Waits for a message for which something holds. */
  async hears(
    what: string,
    holds: (message: Readonly<Record<string, string>>) => boolean,
  ): Promise<Readonly<Record<string, string>>> {
    await until(what, () => this.take().some(holds));
    return this.messages.find(holds)!;
  }

  [Symbol.dispose](): void {
    if (this.#fd >= 0) libc().close(this.#fd);
    this.#fd = -1;
  }
}
