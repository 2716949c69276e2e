/** Connections that end without TLS's closing word: normal behind the stream's own last byte, a break before. */
import "../support/native.ts";
import { assertEquals, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import type { MigrationError } from "../../migration/migration_error.ts";
import { Source } from "../../server/source.ts";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import { HostileSource, PATTERN } from "../hostile/scripted_source.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { withDirectory } from "../image/captures.ts";
import { ALL, PAGES, Reception } from "../receive/received.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";
import { TlsBack } from "./tls_back.ts";
import type { Ending } from "./pass_on.ts";
import { TlsFront } from "./tls_front.ts";

const CUT = /main channel: .*ended without TLS's closing word/;

function test(name: string, body: () => Promise<void>): void {
  Deno.test(name, leavingNoDescriptors(body));
}

/** A guest that is loaded when it is told so. */
class LateGuest extends StillGuest {
  readonly loaded = Promise.withResolvers<void>();

  override load(...args: Parameters<StillGuest["load"]>): Promise<void> {
    super.load(...args);
    return this.loaded.promise;
  }
}

/** A destination, and a source before it whose connections go over TLS. */
interface Arrival {
  readonly back: TlsBack;
  readonly guest: LateGuest;
  readonly destination: Destination;
  readonly source: HostileSource;
  /** A further connection of a source, which resumes. */
  again(): HostileSource;
}

/** Runs a test with a source that has sent all up to its guest, which waits to be loaded. */
function arriving(body: (arrival: Arrival) => Promise<void>): () => Promise<void> {
  return async () => {
    await using stack = new AsyncDisposableStack();
    const back = stack.use(await TlsBack.start());
    const guest = new LateGuest();
    const destination = stack.use(new Destination({ guest, tls: back.tls }));
    const to = back.before(await destination.listen(LOOPBACK));
    const again = () => stack.use(new HostileSource(to, { ram: PAGES }));
    const source = again();
    await source.connect();
    await source.switchOver();
    await within("the guest", until("the guest", () => guest.calls.includes("load")));
    await body({ back, guest, destination, source, again });
  };
}

async function pauseOf({ destination }: Arrival): Promise<MigrationError> {
  await within("the pause", destination.waitFor("postcopy-paused"));
  return destination.pauseReason as MigrationError;
}

/** Waits until the guest runs, and nothing more is to be said to the source but that all is here. */
async function goesOn({ destination, source }: Arrival): Promise<void> {
  await within(
    "the answers",
    source.hear(({ pongs }) => [1, 3, 4].every((one) => pongs.includes(one))),
  );
  await within("the guest to run", destination.waitFor("postcopy-active"));
}

/** Ends a source's main channel, and waits until the destination's host knows. */
async function end({ back, source }: Arrival): Promise<void> {
  const before = back.ended;
  source.main.shutdown();
  await until("the end", () => back.ended > before);
}

test("Destination takes no cut for the end although every page is here", () =>
  arriving(async (arrival) => {
    const { source, guest, again, destination } = arrival;
    guest.loaded.resolve();
    await goesOn(arrival);
    source.encodePages(ALL);
    source.encodeEnd();
    await source.flush(source.stream.take().subarray(0, -1)); // but for the EOF byte
    await until("the pages", () => destination.statistics().received === PAGES);
    await end(arrival);
    const { code, message } = await pauseOf(arrival);
    assertEquals(code, "CONNECTION_LOST");
    assertMatch(message, CUT);
    const next = again();
    await next.connect();
    next.encodeRecovery();
    next.stream.command({ kind: "resume" });
    next.encodeEnd();
    await next.flush();
    await within("the end", destination.finished);
  })());

test("Destination completes although the main channel is cut behind the stream's last byte", () =>
  arriving(async (arrival) => {
    const { source, guest, destination } = arrival;
    guest.loaded.resolve();
    await goesOn(arrival);
    source.encodePages(ALL);
    source.encodeEnd();
    await source.flush();
    await end(arrival);
    await within("the end", destination.finished);
    assertEquals(destination.pauseReason, undefined);
  })());

for (const ending of ["cut", "closing word"] satisfies Ending[]) {
  test(`Destination that has every page does not mind that the preempt channel ends with: ${ending}`, () =>
    arriving(async (arrival) => {
      const { back, source, guest, destination } = arrival;
      const preempt = await source.connectPreempt();
      source.encodeUrgent(ALL.slice(0, 9));
      await source.flushPreempt();
      await until("the pages", () => destination.statistics().received === 9);
      source.encodePages(ALL.slice(9, -1));
      await source.flush();
      source.encodePages(ALL.slice(-1));
      source.encodeEnd();
      await source.flush(); // in one record: where the page is, the end is too
      await until("the pages", () => destination.statistics().received === PAGES);
      back.ending = ending;
      preempt.shutdown();
      await until("its end", () => back.ended === 1);
      guest.loaded.resolve(); // it looks at its channels and completes
      await within("the end", destination.finished);
      assertEquals([destination.pauseReason, guest.calls], [undefined, ["load", "start"]]);
    })());

  test(`Destination takes it for a break when the preempt channel ends early with: ${ending}`, () =>
    arriving(async (arrival) => {
      const { back, source, guest } = arrival;
      guest.loaded.resolve();
      const preempt = await source.connectPreempt();
      source.encodeUrgent(ALL.slice(0, 9));
      await source.flushPreempt();
      await until("the pages", () => arrival.destination.statistics().received === 9);
      back.ending = ending;
      preempt.shutdown();
      const { code, message } = await pauseOf(arrival);
      assertEquals(code, "CONNECTION_LOST");
      assertMatch(message, ending === "cut" ? /closing word/ : /preempt channel: it closed/);
    })());
}

test("Destination whose source is cut off before LISTEN fails, and says how", async () => {
  await using back = await TlsBack.start();
  await using destination = new Destination({ guest: new StillGuest(), tls: back.tls });
  using source = new HostileSource(back.before(await destination.listen(LOOPBACK)));
  await source.connect();
  source.encodeAdvise();
  source.encodeBlocks();
  await source.flush();
  await within("a PONG", source.hear(({ pongs }) => pongs.length > 0));
  source.main.shutdown();
  const error = await within("the failure", destination.finished.catch((error) => error));
  assertEquals(error.code, "CONNECTION_LOST");
  assertMatch(error.message, CUT);
});

/** Runs a test with a receiver, and a source whose connections go over TLS. */
function receiving(body: (reception: Reception, back: TlsBack) => Promise<void>) {
  return () =>
    withDirectory(async (directory) => {
      await using back = await TlsBack.start();
      const path = `${directory}/image`;
      await using receiver = new ImageReceiver({ path, tls: back.tls });
      const to = back.before(await receiver.listen(LOOPBACK));
      using source = new HostileSource(to, { ram: PAGES });
      await source.connect();
      await body(new Reception(path, receiver, to, source), back);
    });
}

/** All of a stream that never switches, of a source that hears nothing and describes nothing. */
function bareStream({ source }: Reception): Uint8Array<ArrayBuffer> {
  const devices = encodeWorkloadState({ ...PATTERN, pages: PAGES });
  source.stream.header();
  source.stream.configuration({ machine: "postcopy-workload" });
  source.encodeBlocks();
  source.encodePages(ALL);
  source.stream.sectionEnd(2);
  source.stream.endOfSection();
  source.stream.sectionFooter(2);
  source.stream.deviceState(devices, 0, devices.length);
  source.stream.endOfStream();
  return source.stream.take();
}

for (const ending of ["cut", "closing word"] satisfies Ending[]) {
  test(
    `ImageReceiver has the image of a stream of which only the end tells that it is all: ${ending}`,
    receiving(async (reception, back) => {
      back.ending = ending;
      await reception.source.flush(bareStream(reception));
      reception.source.main.shutdown();
      await reception.completes();
      await reception.assertImage();
    }),
  );
}

for (const missing of [1, 2, 5, 20]) {
  test(
    `ImageReceiver makes no image of a stream that is cut ${missing} bytes before its end`,
    receiving(async (reception) => {
      await reception.source.flush(bareStream(reception).subarray(0, -missing));
      reception.source.main.shutdown();
      const { code, message } = await reception.fails();
      assertEquals([code, reception.files], ["CONNECTION_LOST", []]);
      assertMatch(message, CUT);
    }),
  );
}

test(
  "ImageReceiver pauses at a cut before the last byte, with all pages here or not",
  receiving(async (reception) => {
    const { source } = reception;
    await source.switchOver();
    source.encodePages(ALL.slice(1));
    await source.flush();
    await until("the pages", () => reception.receiver.statistics().remaining === 1);
    source.main.shutdown();
    const { code, message } = await reception.pauses();
    assertEquals([code, reception.receiver.fate.complete], ["CONNECTION_LOST", false]);
    assertMatch(message, CUT);
  }),
);

for (const whole of [true, false]) {
  const what = whole ? "does not mind" : "pauses, with no page of what came in part,";
  test(
    `ImageReceiver ${what} when the preempt channel is cut ${
      whole ? "with every page here" : "in a record"
    }`,
    receiving(async (reception, back) => {
      const { source, receiver } = reception;
      await source.switchOver();
      const preempt = await source.connectPreempt();
      source.encodePages(ALL.slice(9));
      await source.flush();
      source.encodeUrgent(ALL.slice(0, 9));
      const records = source.records.take();
      await source.flushPreempt(whole ? records : records.subarray(0, -1));
      const missing = whole ? 0 : 1;
      await until("the pages", () => receiver.statistics().remaining === missing);
      preempt.shutdown();
      await until("its end", () => back.ended === 1);
      if (whole) {
        source.encodeEnd();
        await source.flush();
        await reception.completes();
        return await reception.assertImage();
      }
      const { code, message } = await reception.pauses();
      assertEquals([code, receiver.statistics().remaining], ["CONNECTION_LOST", 1]);
      assertMatch(message, /preempt channel/);
    }),
  );
}

for (const heard of [false, true]) {
  test(`Source that ${heard ? "heard" : "did not hear"} the confirmation takes a cut for ${heard ? "the end" : "a break"}`, async () => {
    using file = await TestImage.make({ ram: 64 });
    using image = await openImage(file.path);
    const content = Deno.readFileSync(file.path);
    using destination = await ScriptedHugeDestination.listen(image.layout, content);
    await using relay = await FaultRelay.start(destination.address);
    await using front = await TlsFront.start(relay.address);
    await using source = new Source(image, { ...front.source, recoverTimeout: 0 });
    // What the destination says once it has all does not get through, unless it is to.
    relay.next((main) => {
      if (!heard) destination.when(() => destination.running).then(() => main.freeze("back"));
    });
    const run = source.run().then(() => "completed", (error) => error);
    const playing = destination.play(true).catch(() => {});
    await within("every page", destination.when(() => destination.complete));
    if (!heard) front.cut();
    const outcome = await within("the source to end", run);
    if (heard) assertEquals(outcome, "completed");
    else {
      assertEquals(outcome.code, "CONNECTION_LOST");
      assertMatch(outcome.message, /return path: .*ended without TLS's closing word/);
    }
    front.cut();
    relay.cut();
    await within("the destination's end", playing);
  });
}
