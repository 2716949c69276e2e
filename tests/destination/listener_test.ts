/** Where a destination listens: open until it is closed, with nobody left waiting there. */
import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { withDirectory } from "../image/captures.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { DESTINATION, keepThreads } from "../support/kept_threads.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

await keepThreads(...DESTINATION);

const PAGES = 64;
const ALL = Array.from({ length: PAGES }, (_, page) => page);
const HEALTH_CHECK = new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n");

/** Connects, says something, and waits to be hung up on. */
async function isSentAway(to: SocketAddress, says: Uint8Array): Promise<void> {
  using caller = await Socket.connect(to);
  const ended = async () => {
    try {
      await caller.sendAll(says);
      return await caller.receive(new Uint8Array(1));
    } catch (error) {
      if (error instanceof SyscallError) return 0; // cut off before it was read
      throw error;
    }
  };
  assertEquals(await within("the caller to be hung up on", ended()), 0);
}

/** Brings a destination to a state, with a source that is still connected. */
type Step = (source: HostileSource, destination: Destination) => Promise<void>;

const active: Step = async (source) => {
  await source.connect();
  source.encodeAdvise();
  await source.flush();
  await source.hear(({ pongs }) => pongs.length > 0);
};

const withPreempt: Step = async (source, destination) => {
  await source.connect();
  await source.switchOver();
  await destination.waitFor("postcopy-active");
  await source.connectPreempt();
  source.encodeUrgent([0]);
  await source.flushPreempt();
  await until("the page to be placed", () => destination.statistics().received > 0);
};

const completed: Step = async (source, destination) => {
  await withPreempt(source, destination);
  source.encodePages(ALL.slice(1));
  source.encodeEnd();
  await source.flush();
  await destination.finished;
};

const paused: Step = async (source, destination) => {
  await withPreempt(source, destination);
  source.main.shutdown();
  await destination.waitFor("postcopy-paused");
};

const failed: Step = async (source, destination) => {
  await source.connect();
  await source.flush(new TextEncoder().encode("QEVM, but no stream"));
  await assertRejects(() => destination.finished);
};

const silence = new Uint8Array();
const states: readonly { name: string; step: Step; callers: readonly Uint8Array[] }[] = [
  { name: "before its source", step: async () => {}, callers: [HEALTH_CHECK] },
  { name: "while memory arrives", step: active, callers: [HEALTH_CHECK] },
  { name: "with both channels", step: withPreempt, callers: [HEALTH_CHECK, silence] },
  { name: "completed", step: completed, callers: [HEALTH_CHECK, silence] },
  { name: "paused", step: paused, callers: [HEALTH_CHECK, silence] },
  { name: "failed", step: failed, callers: [HEALTH_CHECK, silence] },
];

for (const { name, step, callers } of states) {
  Deno.test(
    `Destination listens ${name}, sends others away, and ends that only when it is closed`,
    leavingNoDescriptors(async () => {
      const destination = new Destination({ guest: new StillGuest(), stallTimeout: 1000 });
      const to = await destination.listen(LOOPBACK);
      using source = new HostileSource(to, { ram: PAGES });
      await within(name, step(source, destination));
      const { status } = destination;
      for (const says of callers) await isSentAway(to, says);
      assertEquals(destination.status, status);
      await within("the destination to close", destination.close());
      const error = await assertRejects(() => Socket.connect(to), SyscallError);
      assertEquals(error.code, "ECONNREFUSED");
    }),
  );
}

Deno.test(
  "ImageReceiver listens when the image is complete, sends others away, and ends that when it is closed",
  leavingNoDescriptors(() =>
    withDirectory(async (directory) => {
      const receiver = new ImageReceiver({ path: `${directory}/image` });
      const to = await receiver.listen(LOOPBACK);
      using source = new HostileSource(to, { ram: PAGES });
      await source.connect();
      await source.switchOver();
      source.encodePages(ALL);
      source.encodeEnd();
      await source.flush();
      await within("the image", receiver.finished);
      for (const says of [HEALTH_CHECK, silence]) await isSentAway(to, says);
      await within("the receiver to close", receiver.close());
      const error = await assertRejects(() => Socket.connect(to), SyscallError);
      assertEquals(error.code, "ECONNREFUSED");
    })
  ),
);
