/** Destinations that approve the switchover: once, and only where a source waits for it. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { APPROVAL_EXTENSION, EXTENSION_COOKIE } from "../../migration/protocol/extensions.ts";
import type { SwitchoverAckOptions } from "../../migration/protocol/switchover_ack.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { withDirectory } from "../image/captures.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

/** The PING behind the block list: what is said before its PONG is all that is said. */
const LAST = 7;

interface Receiving extends AsyncDisposable {
  listen(address: SocketAddress): Promise<SocketAddress>;
  readonly finished: Promise<void>;
}

type Receive = (
  options: SwitchoverAckOptions,
  use: (end: Receiving) => Promise<void>,
) => Promise<void>;

const RECEIVERS: readonly (readonly [string, Receive])[] = [
  ["Destination", async (options, use) => {
    await using destination = new Destination({ guest: new StillGuest(), ...options });
    await use(destination);
  }],
  ["ImageReceiver", (options, use) =>
    withDirectory(async (directory) => {
      await using receiver = new ImageReceiver({ path: `${directory}/image`, ...options });
      await use(receiver);
    })],
];

/** Says the beginning of a stream, and counts what is approved. */
async function approvals(
  receive: Receive,
  options: SwitchoverAckOptions,
  machine: string,
  greeting: number,
): Promise<{ readonly approvals: number; readonly extensions: readonly string[] }> {
  let found: { approvals: number; extensions: readonly string[] } | undefined;
  await receive(options, async (end) => {
    end.finished.catch(() => {}); // it is left in the midst of it
    using source = new HostileSource(await end.listen(LOOPBACK));
    source.approvals = 0;
    await source.connect();
    source.stream.header();
    source.stream.configuration({ machine });
    source.stream.command({ kind: "open-return-path" });
    source.stream.command({ kind: "ping", value: greeting });
    source.encodeBlocks();
    source.stream.command({ kind: "ping", value: LAST });
    await source.flush();
    await within("the last PONG", source.hear(({ pongs }) => pongs.includes(LAST)));
    assertEquals(source.heard.pongs, [greeting, LAST]);
    found = { approvals: source.approvals, extensions: source.heard.extensions };
  });
  return found!;
}

const ON = { switchoverAck: true };

/** Options, machine type, whether a source of ours asks, and what it gets. */
const CASES: readonly (readonly [SwitchoverAckOptions, string, boolean, number])[] = [
  [{}, "pc-q35-9.0", false, 0],
  [{}, "pc-q35-9.0", true, 0],
  [ON, "pc-q35-9.0", false, 1],
  [ON, "pc-q35-11.0", false, 1],
  [ON, "pc-q35-11.1", false, 0],
  [ON, "microvm", false, 0],
  [{ ...ON, switchoverAckLegacy: true }, "microvm", false, 1],
  [{ ...ON, switchoverAckLegacy: false }, "pc-q35-9.0", false, 0],
  [ON, "pc-q35-11.1", true, 1],
  [ON, "postcopy-workload", true, 1],
];

for (const [name, receive] of RECEIVERS) {
  for (const [options, machine, ours, expected] of CASES) {
    const whose = ours ? "a source of ours" : "a QEMU";
    Deno.test(
      `${name} with ${
        JSON.stringify(options)
      } approves ${expected} times to ${whose} with a ${machine}`,
      leavingNoDescriptors(async () => {
        const greeting = ours ? EXTENSION_COOKIE : 1;
        const found = await approvals(receive, options, machine, greeting);
        assertEquals(found.approvals, expected);
        const listed = found.extensions.includes(APPROVAL_EXTENSION);
        assertEquals(listed, ours && options.switchoverAck === true);
      }),
    );
  }
}
