/** Guests of stock QEMU that switch to postcopy towards a receiver, are cut off, and resume. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { ReturnPathEncoder } from "../../migration/protocol/return_path_encoder.ts";
import { checkRounds, startGuest, waitForRound } from "../../qemu/guest.ts";
import {
  listenForMigration,
  queryMigrate,
  setCapabilities,
  setParameters,
  waitForMigration,
} from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { firstOf, skipReason, testUnless } from "../support/skip.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { versionOf } from "../../qemu/qemu_binary.ts";
import { BreakRelay } from "./break_relay.ts";
import { SOURCE_KINDS, type SourceShared } from "./qemu_source_credentials.ts";
import { readRamBlocks } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { type Capabilities, PREEMPT, VANILLA } from "./saved_guest.ts";
import { serve } from "./serve_process.ts";

/** Bytes a second: slow enough to be cut off in the midst of it. */
const SLOW = 512 << 10;
/** Rounds that a guest must add once it runs again: it has then seen all of its memory. */
const ROUNDS_AFTER = 3;

/** A guest that is stopped and on its way into an image, through a relay. */
class Departure implements AsyncDisposable {
  readonly qemu: Qemu;
  readonly receiver: ImageReceiver;
  readonly relay: BreakRelay;
  readonly path: string;
  readonly #stack: AsyncDisposableStack;
  #since = 0;

  private constructor(
    path: string,
    parts: { qemu: Qemu; receiver: ImageReceiver; relay: BreakRelay },
    stack: AsyncDisposableStack,
  ) {
    this.path = path;
    this.qemu = parts.qemu;
    this.receiver = parts.receiver;
    this.relay = parts.relay;
    this.#stack = stack;
  }

  /** Boots a guest, lets it count, stops it, and makes a receiver ready, which shares something with it. */
  static async start(
    machine: Parameters<typeof startGuest>[0],
    shares: () => Promise<SourceShared | undefined>,
  ): Promise<Departure> {
    await using stack = new AsyncDisposableStack();
    const directory = await Deno.makeTempDir({ prefix: "postcopy-recovery-" });
    stack.defer(() => Deno.remove(directory, { recursive: true }));
    const path = `${directory}/image`;
    const shared = await shares();
    if (shared !== undefined) stack.use(shared);
    const qemu = stack.use(await startGuest(machine));
    const receiver = stack.use(new ImageReceiver({ path, ...shared?.receiver }));
    const relay = stack.use(new BreakRelay(await receiver.listen(LOOPBACK)));
    await shared?.give(qemu);
    await waitForRound(qemu, 2);
    // Under TCG a running QEMU now and then loses what its guest writes while it is copied.
    await qemu.stop();
    return new Departure(path, { qemu, receiver, relay }, stack.move());
  }

  /** Begins, and switches in mid-flight. */
  async depart(capabilities: Capabilities): Promise<void> {
    await setCapabilities(this.qemu, capabilities);
    const limits = { "max-bandwidth": SLOW, "max-postcopy-bandwidth": SLOW };
    await setParameters(this.qemu, limits);
    this.#since = this.qemu.qmp.events.items.length;
    await this.qemu.execute("migrate", { uri: this.relay.uri });
    await until("some pages", () => this.receiver.statistics().normal > 25);
    await this.qemu.execute("migrate-start-postcopy");
  }

  /** Waits until pages have come after the switch, or after it was resumed. */
  async pages(count: number): Promise<void> {
    const { receiver } = this;
    await until("the switch", () => receiver.status === "postcopy-active");
    const { normal } = receiver.statistics();
    await until("some pages", () => receiver.statistics().normal > normal + count);
  }

  /** Waits until both ends are paused. */
  async paused(): Promise<void> {
    await until("the receiver's pause", () => this.receiver.status === "postcopy-paused");
    await until(
      "the source's pause",
      async () => (await queryMigrate(this.qemu)).status === "postcopy-paused",
    );
    this.relay.breakAll(); // what is left of it
  }

  /** Has the source come again. */
  async resume(): Promise<void> {
    this.#since = this.qemu.qmp.events.items.length;
    await this.qemu.execute("migrate", { uri: this.relay.uri, resume: true });
  }

  /** Lets the rest come as fast as it can, and compares the image with the memory that was sent. */
  async arrive(): Promise<void> {
    await setParameters(this.qemu, { "max-postcopy-bandwidth": 0 });
    await within("the image", this.receiver.finished);
    await waitForMigration(this.qemu, ["completed"], { since: this.#since });
    const { pages, received, remaining, unnamed, duplicates } = this.receiver.statistics();
    assertEquals([received, remaining, unnamed, duplicates], [pages, 0, 0, 0]);
    await this.assertAsKept();
  }

  /** Compares the image with the memory that the source still has; its guest is stopped. */
  async assertAsKept(): Promise<void> {
    using image = await openImage(this.path);
    assertImageMemory(image, await readRamBlocks(this.qemu));
  }

  /** Runs the guest again from the image: it goes on counting where it stopped. */
  async countsOn(machine: Parameters<typeof startGuest>[0]): Promise<void> {
    await using qemu = await startGuest({ ...machine, incoming: true });
    await setCapabilities(qemu, PREEMPT);
    const to = `tcp:127.0.0.1:${await listenForMigration(qemu)}`;
    const { code, stderr } = await serve(this.path, to);
    assertEquals(code, 0, stderr);
    await this.qemu.close();
    const rounds = checkRounds(this.qemu.serial.text);
    await waitForRound(qemu, rounds + ROUNDS_AFTER);
    await qemu.close();
    checkRounds(this.qemu.serial.text + qemu.serial.text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

/** What the PONG is that lets a source of QEMU 10.2 or later give the guest up. */
function packageLoaded(): Uint8Array {
  const encoder = new ReturnPathEncoder();
  encoder.pong(0x42);
  return encoder.take();
}

for (const { name, binary, skip } of await testedQemus()) {
  const [major, minor] = skip === undefined ? await versionOf(binary) ?? [0, 0] : [0, 0];
  const waits = major > 10 || (major === 10 && minor >= 2);
  const older = waits ? skipReason("no support", "QEMU 10.2 and later keeps the guest") : skip;
  const newer = waits ? skip : skip ?? skipReason("no support", "needs QEMU 10.2 or later");
  const machine = { binary, tick: 64 };

  const departs = (
    reason: typeof skip,
    what: string,
    test: (departure: Departure) => Promise<void>,
    shares: () => Promise<SourceShared | undefined> = () => Promise.resolve(undefined),
  ) =>
    testUnless(
      reason,
      `ImageReceiver ${what}, with ${name}`,
      leavingNoDescriptors(async () => {
        await using departure = await Departure.start(machine, shares);
        await test(departure);
      }),
    );

  const brokenTwice = async (departure: Departure) => {
    await departure.depart(VANILLA);
    for (let breaks = 0; breaks < 2; breaks++) {
      await departure.pages(12);
      departure.relay.breakAll();
      await departure.paused();
      await departure.resume();
    }
    await departure.arrive();
    await departure.countsOn(machine);
  };
  const brokenAlone = async (departure: Departure) => {
    await departure.depart(PREEMPT);
    await departure.pages(12);
    assertEquals(departure.relay.connections, 2);
    departure.relay.breakOne(0);
    await departure.paused();
    await departure.resume();
    await departure.pages(12);
    departure.relay.breakAll();
    await departure.paused();
    await departure.resume();
    await departure.arrive();
    await departure.countsOn(machine);
  };
  departs(older, "takes a guest whose connection broke twice", brokenTwice);
  departs(older, "takes a guest whose main channel broke alone, and then both", brokenAlone);
  for (const [kind, share] of Object.entries(SOURCE_KINDS)) {
    const secret = firstOf(older, needsOpenssl());
    const over = `over TLS with ${kind}`;
    departs(secret, `takes a guest whose connection broke twice ${over}`, brokenTwice, share);
    const alone = `takes a guest whose main channel broke alone, and then both, ${over}`;
    departs(secret, alone, brokenAlone, share);
  }

  departs(older, "needs no preempt channel, by which nothing comes", async (departure) => {
    await departure.depart(PREEMPT);
    await departure.pages(12);
    departure.relay.breakOne(1);
    await departure.arrive();
  });

  departs(
    older,
    "makes the image although the connection broke at the last byte",
    async (departure) => {
      const { qemu, receiver, relay } = departure;
      relay.keepLast();
      await departure.depart(PREEMPT);
      await setParameters(qemu, { "max-postcopy-bandwidth": 0 });
      const { pages } = receiver.statistics();
      await until("every page", () => receiver.statistics().received === pages);
      assertEquals(receiver.status, "postcopy-active");
      relay.breakAll();
      await until("the pause", () => receiver.status === "postcopy-paused");
      await departure.assertAsKept();
      // Where the source has said its last word it cannot resume; the image does not wait for it.
      await within("the end", receiver.finished);
    },
  );

  departs(older, "that is paused and told another address goes on there", async (departure) => {
    await departure.depart(PREEMPT);
    await departure.pages(12);
    await departure.receiver.pause();
    await departure.paused();
    await using relay = new BreakRelay(await departure.receiver.recover(LOOPBACK));
    assertEquals(await departure.qemu.monitor(`migrate -d -r ${relay.uri}`), ""); // as it is advised
    await departure.arrive();
  });

  departs(
    newer,
    "leaves the guest unharmed at a source that was cut off behind its permission to give it up",
    async (departure) => {
      const { qemu, receiver, relay } = departure;
      relay.breakBehind(packageLoaded());
      await departure.depart(PREEMPT);
      await setParameters(qemu, { "max-postcopy-bandwidth": 0 });
      const error = await within("the failure", receiver.finished.catch((error) => error as Error));
      assertMatch((error as Error).message, /see that the guest does not run on at the source/);
      await until("the failure there", async () => (await queryMigrate(qemu)).status === "failed");
      await qemu.resume();
      await waitForRound(qemu, checkRounds(qemu.serial.text) + ROUNDS_AFTER);
    },
  );

  departs(
    firstOf(newer, needsOpenssl()),
    "over TLS leaves the guest unharmed at a source that was cut off after the switch",
    async (departure) => {
      const { qemu, receiver } = departure;
      await departure.depart(PREEMPT);
      await departure.pages(12);
      departure.relay.breakAll();
      const error = await within("the failure", receiver.finished.catch((error) => error as Error));
      assertMatch((error as Error).message, /ended without TLS's closing word/);
      await until("the failure there", async () => (await queryMigrate(qemu)).status === "failed");
      await qemu.resume();
      await waitForRound(qemu, checkRounds(qemu.serial.text) + ROUNDS_AFTER);
    },
    SOURCE_KINDS["tls-creds-psk"],
  );
}
