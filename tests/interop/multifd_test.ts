/** Stock QEMU with multifd on, into an image that runs again. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { checkRounds, type GuestMachine, startGuest, waitForRound } from "../../qemu/guest.ts";
import {
  listenForMigration,
  setCapabilities,
  setParameters,
  waitForMigration,
} from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { needsVersion } from "./needs_version.ts";
import { readRamBlocks } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { type Capabilities, PREEMPT, VANILLA } from "./saved_guest.ts";
import { serve } from "./serve_process.ts";

const FAST = 1e12;
const SLOW = 512 << 10;
/** Rounds that a guest must add once it runs again. */
const ROUNDS_AFTER = 3;

interface Departure extends AsyncDisposable {
  readonly qemu: Qemu;
  readonly receiver: ImageReceiver;
  readonly path: string;
  /** Migrates, and returns how it ended here; the error in case. */
  depart(capabilities: Capabilities, parameters: Readonly<Record<string, unknown>>): Promise<void>;
  /** Waits until the source has this state. */
  waitFor(status: string): Promise<void>;
}

async function startDeparture(machine: GuestMachine, channels?: number): Promise<Departure> {
  await using stack = new AsyncDisposableStack();
  const directory = await Deno.makeTempDir({ prefix: "postcopy-multifd-" });
  stack.defer(() => Deno.remove(directory, { recursive: true }));
  const path = `${directory}/image`;
  const qemu = stack.use(await startGuest(machine));
  const multifd = channels === undefined ? {} : { multifdChannels: channels };
  const receiver = stack.use(new ImageReceiver({ path, ...multifd }));
  const uri = formatSocketAddress(await receiver.listen(LOOPBACK));
  await waitForRound(qemu, 2);
  let since = 0;
  const parts = stack.move();
  return {
    qemu,
    receiver,
    path,
    async depart(capabilities, parameters) {
      await setCapabilities(qemu, { multifd: true, events: true, ...capabilities });
      await setParameters(qemu, {
        "max-bandwidth": FAST,
        "max-postcopy-bandwidth": 0,
        ...parameters,
      });
      since = qemu.qmp.events.items.length;
      await qemu.execute("migrate", { uri });
    },
    async waitFor(status) {
      await waitForMigration(qemu, [status], { since });
    },
    [Symbol.asyncDispose]: () => parts.disposeAsync(),
  };
}

async function runsAgain({ qemu, path }: Departure, machine: GuestMachine): Promise<void> {
  await using destination = await startGuest({ ...machine, incoming: true });
  await setCapabilities(destination, PREEMPT);
  const { code, stderr } = await serve(
    path,
    `tcp:127.0.0.1:${await listenForMigration(destination)}`,
  );
  assertEquals(code, 0, stderr);
  await qemu.close();
  const rounds = checkRounds(qemu.serial.text);
  await waitForRound(destination, rounds + ROUNDS_AFTER);
  await destination.close();
  checkRounds(qemu.serial.text + destination.serial.text);
}

for (const { name, binary, skip } of await testedQemus()) {
  for (const method of ["none", "zlib", "zstd"]) {
    testUnless(
      skip,
      `ImageReceiver takes a guest over four multifd channels (${method}) that serve runs again, with ${name}`,
      leavingNoDescriptors(async () => {
        const machine = { binary, tick: 64 };
        await using departure = await startDeparture(machine, 4);
        const { qemu, receiver, path } = departure;
        await qemu.stop();
        await departure.depart({}, { "multifd-channels": 4, "multifd-compression": method });
        await within("the image", receiver.finished);
        await departure.waitFor("completed");
        const { pages, received, remaining, unnamed, ...rest } = receiver.statistics();
        assertEquals([received, remaining, unnamed], [pages, 0, 0]);
        assertGreater(rest["multifd-bytes"]!, 4 * 64);
        {
          using image = await openImage(path);
          assertImageMemory(image, await readRamBlocks(qemu));
        }
        await runsAgain(departure, machine);
      }),
    );
  }

  for (
    const [way, capabilities] of [["", VANILLA], [" with a preempt channel", PREEMPT]] as const
  ) {
    testUnless(
      skip ?? await needsVersion(binary, 1001),
      `ImageReceiver takes a guest over multifd and a switch to postcopy${way}, with ${name}`,
      leavingNoDescriptors(async () => {
        const machine = { binary, tick: 64 };
        await using departure = await startDeparture(machine, 2);
        const { qemu, receiver, path } = departure;
        await qemu.stop();
        await departure.depart(capabilities, { "multifd-channels": 2, "max-bandwidth": SLOW });
        await until("some pages", () => receiver.statistics()["multifd-bytes"]! > 300_000);
        await qemu.execute("migrate-start-postcopy");
        await within("the image", receiver.finished);
        await departure.waitFor("completed");
        const { pages, received, remaining, unnamed, normal } = receiver.statistics();
        assertEquals([received, remaining, unnamed], [pages, 0, 0]);
        assertGreater(normal, 75);
        {
          using image = await openImage(path);
          assertImageMemory(image, await readRamBlocks(qemu));
        }
        await runsAgain(departure, machine);
      }),
    );
  }

  for (const detection of ["none", "legacy", "multifd"]) {
    for (const type of ["pc-q35-7.2", undefined]) {
      testUnless(
        skip ?? await needsVersion(binary, 900),
        `ImageReceiver takes multifd of a running ${
          type ?? "modern"
        } machine, zero pages found by ${detection}, with ${name}`,
        leavingNoDescriptors(async () => {
          const machine = { binary, ...type === undefined ? {} : { machine: type } };
          await using departure = await startDeparture(machine, 3);
          await departure.depart({ "return-path": true }, {
            "multifd-channels": 3,
            "zero-page-detection": detection,
            "max-bandwidth": 64 << 20,
          });
          await within("the image", departure.receiver.finished);
          await departure.waitFor("completed");
          using image = await openImage(departure.path);
          assertImageMemory(image, await readRamBlocks(departure.qemu));
        }),
      );
    }
  }

  /** What the two ends are told, and what this end says. */
  const MISMATCHES: readonly (readonly [string, number | undefined, number, RegExp])[] = [
    [
      "fewer channels than are expected",
      4,
      2,
      /has opened 2 multifd channels, and 4 are expected.*give --multifd 2/,
    ],
    [
      "more channels than are expected",
      1,
      3,
      /opens more multifd channels than are expected here: 1: set/,
    ],
    ["multifd where none is expected", undefined, 2, /give --multifd with as many/],
    [
      "no multifd where some is expected",
      2,
      0,
      /has opened 0 multifd channels.*leave --multifd out/,
    ],
  ];
  for (const [what, expected, opened, message] of MISMATCHES) {
    testUnless(
      skip,
      `ImageReceiver says so when the source has ${what}, and the guest goes on there, with ${name}`,
      leavingNoDescriptors(async () => {
        await using departure = await startDeparture({ binary }, expected);
        const { qemu, receiver } = departure;
        await departure.depart(
          opened === 0 ? { multifd: false } : {},
          { ...opened === 0 ? {} : { "multifd-channels": opened }, "max-bandwidth": SLOW },
        );
        const { message: told } = await within(
          "the failure",
          receiver.finished.catch((error) => error as Error),
        ) as Error;
        assertMatch(told, message);
        assertMatch(told, /the guest is unharmed at the source$/);
        await receiver.close();
        await departure.waitFor("failed");
        await waitForRound(qemu, checkRounds(qemu.serial.text) + ROUNDS_AFTER);
      }),
    );
  }

  testUnless(
    skip,
    `ImageReceiver leaves nothing behind when a source with multifd is killed, with ${name}`,
    leavingNoDescriptors(async () => {
      await using departure = await startDeparture({ binary }, 2);
      const { qemu, receiver, path } = departure;
      await departure.depart({}, { "multifd-channels": 2, "max-bandwidth": SLOW });
      await until("some pages", () => receiver.statistics()["multifd-bytes"]! > 200_000);
      await qemu.close();
      const { message } = await receiver.finished.catch((error) => error as Error) as Error;
      assertMatch(message, /^Source went away: /);
      const left = [...Deno.readDirSync(path.slice(0, path.lastIndexOf("/")))];
      assertEquals(left, []);
    }),
  );
}
