/** Guests of stock QEMU, received into images, and run again: by our source, and by QEMU itself. */
import "../support/native.ts";
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { checkRounds, type GuestMachine, startGuest, waitForRound } from "../../qemu/guest.ts";
import {
  listenForMigration,
  setCapabilities,
  setParameters,
  waitForMigration,
} from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import type { QemuBinary } from "../../qemu/qemu_binary.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { RecordingRelay } from "../receive/recording_relay.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { ScriptProcess } from "../support/processes.ts";
import { type SkipReason, skipReason, testUnless } from "../support/skip.ts";
import { readRamBlocks } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { type Capabilities, PREEMPT, VANILLA } from "./saved_guest.ts";
import { serve } from "./serve_process.ts";

/** Ways to get a guest into an image. */
const WAYS: readonly [string, Capabilities][] = [
  ["precopy", {}],
  ["precopy and a return path", { "return-path": true }],
  ["a switch to postcopy", VANILLA],
  ["a switch to postcopy with a preempt channel", PREEMPT],
];
/** Rounds that a guest must add once it runs again: it has then seen all of its memory. */
const ROUNDS_AFTER = 3;
/** Slow enough to be told to switch while it copies. */
const SLOW = 512 << 10;
const FAST = 1e12;

/** A guest on its way into an image. */
class Departure implements AsyncDisposable {
  readonly qemu: Qemu;
  readonly receiver: ImageReceiver;
  readonly relay: RecordingRelay;
  readonly path: string;
  readonly #machine: GuestMachine;
  readonly #stack: AsyncDisposableStack;
  #since = 0;

  private constructor(
    machine: GuestMachine,
    path: string,
    parts: { qemu: Qemu; receiver: ImageReceiver; relay: RecordingRelay },
    stack: AsyncDisposableStack,
  ) {
    this.#machine = machine;
    this.path = path;
    this.qemu = parts.qemu;
    this.receiver = parts.receiver;
    this.relay = parts.relay;
    this.#stack = stack;
  }

  /** Boots a guest, lets it count, and makes a receiver ready. */
  static async start(machine: GuestMachine): Promise<Departure> {
    await using stack = new AsyncDisposableStack();
    const directory = await Deno.makeTempDir({ prefix: "postcopy-receive-" });
    stack.defer(() => Deno.remove(directory, { recursive: true }));
    const path = `${directory}/image`;
    const qemu = stack.use(await startGuest(machine));
    const receiver = stack.use(new ImageReceiver({ path }));
    const relay = stack.use(new RecordingRelay(await receiver.listen(LOOPBACK)));
    await waitForRound(qemu, 2);
    return new Departure(machine, path, { qemu, receiver, relay }, stack.move());
  }

  /** Begins the migration. */
  async begin(capabilities: Capabilities, bandwidth: number): Promise<void> {
    await setCapabilities(this.qemu, capabilities);
    await setParameters(this.qemu, { "max-bandwidth": bandwidth, "max-postcopy-bandwidth": 0 });
    this.#since = this.qemu.qmp.events.items.length;
    await this.qemu.execute("migrate", { uri: this.relay.uri });
  }

  /** Has the guest moved, switching in mid-flight where that is allowed. */
  async depart(capabilities: Capabilities): Promise<void> {
    const postcopy = capabilities["postcopy-ram"] === true;
    await this.begin(capabilities, postcopy ? SLOW : FAST);
    if (postcopy) {
      await until("some pages", () => this.receiver.statistics().normal > 75);
      await this.qemu.execute("migrate-start-postcopy");
    }
    await this.arrive();
  }

  /** Waits until both ends say that all is there. */
  async arrive(): Promise<void> {
    await within("the image", this.receiver.finished);
    await waitForMigration(this.qemu, ["completed"], { since: this.#since });
    const { pages, received, remaining, unnamed, duplicates } = this.receiver.statistics();
    assertEquals([received, remaining, unnamed, duplicates], [pages, 0, 0, 0]);
  }

  /** Waits until the source has this state. */
  async waitFor(status: string): Promise<void> {
    await waitForMigration(this.qemu, [status], { since: this.#since });
  }

  /** Waits for a pass over the memory. */
  async pass(number: number): Promise<void> {
    const isPass = (data: Readonly<Record<string, unknown>>) => data["pass"] as number >= number;
    await this.qemu.qmp.waitForEvent("MIGRATION_PASS", isPass, { since: this.#since });
  }

  /** Compares the image with what was sent, byte for byte. */
  async assertAsSent(): Promise<ReturnType<RecordingRelay["memory"]>["counts"]> {
    const { blocks, counts } = this.relay.memory();
    using image = await openImage(this.path);
    assertImageMemory(image, blocks);
    return counts;
  }

  /** Compares the image with the memory that the source still has; the guest was stopped all along. */
  async assertAsKept(): Promise<void> {
    using image = await openImage(this.path);
    assertImageMemory(image, await readRamBlocks(this.qemu));
  }

  /** A QEMU of the same machine that waits for the guest. */
  async destination(difference: GuestMachine = {}): Promise<Qemu> {
    const machine = { ...this.#machine, ...difference, incoming: true };
    return this.#stack.use(await startGuest(machine));
  }

  /** Sees that the guest goes on counting where it stopped. */
  async countsOn(qemu: Qemu): Promise<void> {
    await this.qemu.close();
    const rounds = checkRounds(this.qemu.serial.text);
    const wrong = qemu.serial.waitForLine("a report", (text) => text.includes("BAD"));
    await Promise.race([waitForRound(qemu, rounds + ROUNDS_AFTER), wrong.catch(() => {})]);
    await qemu.close();
    checkRounds(this.qemu.serial.text + qemu.serial.text);
  }

  /** Runs the guest again by our source. */
  async serve(): Promise<void> {
    const qemu = await this.destination();
    await setCapabilities(qemu, PREEMPT);
    const { code, stderr } = await serve(
      this.path,
      `tcp:127.0.0.1:${await listenForMigration(qemu)}`,
    );
    assertEquals(code, 0, stderr);
    await this.countsOn(qemu);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

function departureTest(
  skip: SkipReason | undefined,
  name: string,
  machine: GuestMachine,
  test: (departure: Departure) => Promise<void>,
): void {
  testUnless(
    skip,
    name,
    leavingNoDescriptors(async () => {
      await using departure = await Departure.start(machine);
      await test(departure);
    }),
  );
}

/** Says why a QEMU is not one of these versions; undefined when it is. */
async function needsVersion(
  { command }: QemuBinary,
  wanted: string,
  holds: (version: number) => boolean,
): Promise<SkipReason | undefined> {
  const [program, ...args] = command;
  const { stdout } = await new Deno.Command(program!, { args: [...args, "-version"] }).output();
  const found = /version (\d+)\.(\d+)/.exec(new TextDecoder().decode(stdout));
  if (found !== null && holds(Number(found[1]) * 100 + Number(found[2]))) return undefined;
  return skipReason("no support", `Needs QEMU ${wanted}, this is: ${found?.[0]}`);
}

const qemus = await testedQemus();
for (const { name, binary, skip } of qemus) {
  for (const [way, capabilities] of WAYS) {
    departureTest(
      skip,
      `ImageReceiver takes a guest by ${way} that serve runs again, with ${name}`,
      { binary, tick: 64 },
      async (departure) => {
        // Under TCG a running QEMU now and then loses what its guest writes while it is copied.
        await departure.qemu.stop();
        await departure.depart(capabilities);
        await departure.assertAsSent();
        await departure.assertAsKept();
        await departure.serve();
      },
    );
    departureTest(
      skip,
      `ImageReceiver writes what a running guest's QEMU sends by ${way}, with ${name}`,
      { binary },
      async (departure) => {
        await departure.depart(capabilities);
        await departure.assertAsSent();
        // Before, QEMU without KVM loses many of the guest's writes, on its own way too.
        if (departure.qemu.atLeast(10, 0)) await departure.serve();
      },
    );
  }

  testUnless(
    skip,
    `receive and serve move a guest from one QEMU to another by way of a file, with ${name}`,
    async () => {
      await using source = await startGuest({ binary, tick: 64 });
      await using destination = await startGuest({ binary, tick: 64, incoming: true });
      const image = source.directory.ours("image");
      const args = ["receive", "--listen", "tcp:127.0.0.1:0", "--image", image, "--json"];
      await using receive = new ScriptProcess("client/main.ts", args);
      const listening = await receive.line(
        "listening",
        (line) => JSON.parse(line).address as string,
      );
      await waitForRound(source, 2);
      await source.stop();
      await setCapabilities(source, PREEMPT);
      await setParameters(source, { "max-bandwidth": SLOW, "max-postcopy-bandwidth": 0 });
      await source.execute("migrate", { uri: listening });
      await receive.line("some pages", (line) => JSON.parse(line).normal > 75 || undefined);
      await source.execute("migrate-start-postcopy");
      const { code: received, errors } = await within("receive to end", receive.ended);
      assertEquals(received, 0, errors);
      await setCapabilities(destination, PREEMPT);
      const to = `tcp:127.0.0.1:${await listenForMigration(destination)}`;
      const { code, stderr } = await serve(image, to);
      assertEquals(code, 0, stderr);
      const rounds = checkRounds(source.serial.text);
      await waitForRound(destination, rounds + ROUNDS_AFTER);
      await source.close();
      await destination.close();
      checkRounds(source.serial.text + destination.serial.text);
    },
  );

  departureTest(
    skip,
    `ImageReceiver applies XBZRLE pages, with ${name}`,
    { binary, bytesPerPage: 64 },
    async (departure) => {
      await setParameters(departure.qemu, { "downtime-limit": 1 });
      await departure.begin({ xbzrle: true }, 16 << 20);
      await departure.pass(4);
      await departure.qemu.stop();
      await departure.arrive();
      assertGreater((await departure.assertAsSent()).xbzrle, 0);
    },
  );

  departureTest(
    skip ?? await needsVersion(binary, "before 9.1", (version) => version < 901),
    `ImageReceiver inflates compressed pages, with ${name}`,
    { binary },
    async (departure) => {
      await departure.qemu.stop();
      await departure.depart({ compress: true });
      assertGreater((await departure.assertAsSent()).compressed, 1000);
      await departure.assertAsKept();
    },
  );

  departureTest(
    skip,
    `ImageReceiver leaves the guest unharmed at the source when it is closed in precopy, with ${name}`,
    { binary },
    async (departure) => {
      const { qemu, receiver } = departure;
      await departure.begin({ "return-path": true }, SLOW);
      await until("some pages", () => receiver.statistics().normal > 75);
      await receiver.close();
      await departure.waitFor("failed");
      await waitForRound(qemu, checkRounds(qemu.serial.text) + ROUNDS_AFTER);
    },
  );

  departureTest(
    skip,
    `ImageReceiver closed after the switch leaves the guest unharmed from QEMU 10.2 on, with ${name}`,
    { binary },
    async (departure) => {
      const { qemu, receiver } = departure;
      await departure.begin(PREEMPT, SLOW);
      await until("some pages", () => receiver.statistics().normal > 75);
      await setParameters(qemu, { "max-postcopy-bandwidth": 1 << 20 });
      await qemu.execute("migrate-start-postcopy");
      await until("the switch", () => receiver.status === "postcopy-active");
      const failed = receiver.finished.catch((error) => error as Error);
      await receiver.close();
      const { message } = (await failed) as Error;
      if (qemu.atLeast(10, 2)) {
        assertMatch(message, /: no image was made, and the guest is unharmed at the source$/);
        await departure.waitFor("failed");
        await waitForRound(qemu, checkRounds(qemu.serial.text) + ROUNDS_AFTER);
      } else {
        assertMatch(message, /cannot let the guest go on: it keeps it stopped/);
        await departure.waitFor("postcopy-paused");
        assertEquals(await qemu.runState(), "finish-migrate");
      }
    },
  );

  departureTest(
    skip,
    `ImageReceiver that fails at the last moment says how the guest goes on, with ${name}`,
    { binary },
    async (departure) => {
      const { qemu, receiver, path } = departure;
      await Deno.writeTextFile(path, "somebody else's");
      await departure.begin({}, FAST);
      const { message } = (await receiver.finished.catch((error) => error as Error)) as Error;
      assertMatch(message, /EEXIST.*: the command cont there lets it go on$/);
      await departure.waitFor("completed");
      await qemu.resume();
      await waitForRound(qemu, checkRounds(qemu.serial.text) + ROUNDS_AFTER);
      assertEquals(await Deno.readTextFile(path), "somebody else's");
    },
  );

  departureTest(
    skip,
    `ImageReceiver leaves nothing behind when the source is killed, with ${name}`,
    { binary },
    async (departure) => {
      const { qemu, receiver, path } = departure;
      await departure.begin({}, SLOW);
      await until("some pages", () => receiver.statistics().normal > 75);
      await qemu.close();
      const { message } = (await receiver.finished.catch((error) => error as Error)) as Error;
      assertMatch(message, /^Source went away: /);
      const left = [...Deno.readDirSync(path.slice(0, path.lastIndexOf("/")))];
      assertEquals(left, []);
    },
  );
}

/** The newest of them loads mapped-ram files, also of older ones. */
const loader = qemus.at(-1)!;
const noLoader = loader.skip ??
  await needsVersion(loader.binary, "9.0 or later", (version) => version >= 900);
for (const { name, binary, skip } of qemus) {
  for (const [way, capabilities] of [WAYS[0]!, WAYS[3]!]) {
    departureTest(
      skip ?? noLoader,
      `${loader.name} loads an image of ${name} taken by ${way}`,
      { binary, machine: "pc-q35-7.2" },
      async (departure) => {
        await departure.qemu.stop();
        await departure.depart(capabilities);
        const qemu = await departure.destination({ binary: loader.binary });
        await Deno.copyFile(departure.path, qemu.directory.ours("image"));
        await setCapabilities(qemu, { "mapped-ram": true });
        const since = qemu.qmp.events.items.length;
        await qemu.execute("migrate-incoming", { uri: `file:${qemu.directory.theirs("image")}` });
        await waitForMigration(qemu, ["completed"], { since });
        await qemu.resume();
        await departure.countsOn(qemu);
      },
    );
  }
}
