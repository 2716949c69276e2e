/** Whoever comes while this process has no descriptor left is met once there is one. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { IncomingChannels } from "../../client/connecting/incoming_channels.ts";
import { Entrance } from "../../client/connecting/entrance.ts";
import { Errno } from "../../ffi/errno.ts";
import { Listener } from "../../ffi/listener.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { replacing } from "../support/replacing.ts";

/** A process whose descriptors can be taken from those who accept. */
interface FullProcess {
  isFull: boolean;
  /** How often somebody could not be accepted, and was. */
  refused: number;
  accepted: number;
}

/** Runs with channels in a process that may be full. */
async function accepting(
  run: (process: FullProcess, channels: IncomingChannels, listener: Listener) => Promise<void>,
): Promise<void> {
  const process: FullProcess = { isFull: false, refused: 0, accepted: 0 };
  const take = (original: Entrance["take"]): Entrance["take"] =>
    function (this: Entrance) {
      if (process.isFull) {
        process.refused++;
        return -Errno.EMFILE;
      }
      const taken = original.call(this);
      if (typeof taken !== "number") process.accepted++;
      return taken;
    };
  await replacing(Entrance.prototype as Pick<Entrance, "take">, "take", take, async () => {
    using listener = await Listener.listen(LOOPBACK);
    const { fd } = listener;
    await using channels = new IncomingChannels({ fd }, "a test", { stallTimeout: 60_000 });
    await run(process, channels, listener);
  });
}

Deno.test(
  "IncomingChannels tells a late source how its migration ended, though it came when the process was full",
  leavingNoDescriptors(() =>
    accepting(async (process, channels, { address }) => {
      channels.takeBack("complete");
      process.isFull = true;
      using source = new HostileSource(address);
      await source.connect();
      source.encodeRecovery();
      await source.flush();
      await until("it to be tried again", () => process.refused > 1);
      process.isFull = false;
      await within("the answer", source.hear(({ shuts }) => shuts.length > 0));
      assertEquals(source.heard.shuts, [0]);
    })
  ),
);

Deno.test(
  "IncomingChannels whose main channel is there meets the others, though they came when the process was full",
  leavingNoDescriptors(() =>
    accepting(async (process, channels, { address }) => {
      using source = new HostileSource(address);
      await source.connect();
      source.encodeAdvise();
      await source.flush();
      const { owned } = await within("the main channel", channels.main);
      process.isFull = true;
      await source.connectPreempt();
      await until("it to be tried again", () => process.refused > 1);
      process.isFull = false;
      await until("the preempt channel", () => process.accepted === 2);
      assertEquals(channels.handOver().silent.length, 1);
      owned.close();
    })
  ),
);

Deno.test(
  "IncomingChannels says that there is no descriptor for the main channel",
  leavingNoDescriptors(() =>
    accepting(async (process, channels, { address }) => {
      process.isFull = true;
      using source = new HostileSource(address);
      await source.connect();
      const error = await within(
        "the reason",
        channels.main.then(() => undefined, (error) => error),
      );
      assert(/accept failed with EMFILE/.test(error?.message), error?.message);
    })
  ),
);
