/** What somebody between the ends sees of a migration: in clear all of it, over TLS nothing. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertGreaterOrEqual } from "@std/assert";
import { Buffer } from "node:buffer";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { migrateLive } from "../live/live_migration.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { TestImage } from "../support/images.ts";
import { type Encryption, LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { patternsOf, Wire } from "../support/wire.ts";
import { needsOpenssl } from "./authority.ts";
import { KINDS } from "./credentials.ts";
import { TlsFront } from "./tls_front.ts";

/** What the stream begins with, and the block's name, which every request has. */
const WORDS = ["QEVM", "a-block-of-memory"];
const PATTERNS = 150;

/** Runs a guest that touches every page, at a destination behind a tap. */
async function restore(encryption: Encryption | undefined): Promise<void> {
  using image = await TestImage.make({ "a-block-of-memory": 1000 });
  const patterns = [...WORDS, ...patternsOf(Deno.readFileSync(image.path), PATTERNS)];
  assertGreaterOrEqual(patterns.length, PATTERNS);
  const guest = new WorkloadGuest({ threads: 1, untilTouched: true });
  const tls = (of: "source" | "destination") =>
    encryption === undefined ? {} : { tls: encryption[of] };
  await using destination = new Destination({ guest, ...tls("destination") });
  const wire = new Wire();
  const at = await destination.listen(LOOPBACK);
  await using relay = await FaultRelay.start(at, wire.tap);
  using opened = await openImage(image.path);
  await using source = new Source(opened, {
    ...tls("source"),
    to: relay.address,
    maxPostcopyBandwidth: 1e6, // pages pass on the preempt channel too
  });
  const [{ ram }] = await within("the end", Promise.all([source.run(), destination.finished]));
  await guest.ended;
  assertEquals(await guest.check(), { pages: 1000, wrongPages: 0 });
  assertGreater(ram["postcopy-requests"], 0);
  assertUsed(relay);
  assertEquals(wire.seen(patterns), encryption === undefined ? patterns : []);
}

/** Moves a guest that writes. */
async function moveLive(postcopy: "never" | "now", over: "in clear" | "over TLS"): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const wire = new Wire();
  let relay: FaultRelay | undefined;
  const { guest, source } = await migrateLive({
    postcopy,
    burst: 5,
    through: async (to) => {
      if (over === "in clear") {
        relay = stack.use(await FaultRelay.start(to, wire.tap));
        return { to: relay.address };
      }
      const front = stack.use(await TlsFront.start(to));
      relay = stack.use(await FaultRelay.start(front.source.to, wire.tap));
      return { ...front.source, to: relay.address };
    },
  });
  assertEquals(source.ram.remaining, 0);
  assertEquals(relay!.connections.length, postcopy === "now" ? 2 : 1);
  const memory = guest.snapshot.flatMap((block) => patternsOf(block.slice(), PATTERNS / 2));
  const state = Buffer.from(guest.state.subarray(1000, 1032)).toString("latin1");
  const patterns = ["QEVM", state, ...memory];
  assertGreaterOrEqual(patterns.length, PATTERNS);
  assertEquals(wire.seen(patterns), over === "in clear" ? patterns : []);
}

/** There were both channels, and something was said by each. */
function assertUsed({ connections }: FaultRelay): void {
  assertEquals(connections.length, 2);
  for (const { passed } of connections) assertGreater(passed, 4096);
  assert(connections.some(({ answered }) => answered > 100), "nothing came back");
}

function test(name: string, body: () => Promise<void>): void {
  testUnless(needsOpenssl(), name, leavingNoDescriptors(body));
}

test("Source in clear shows the memory on the way, which this test would see", () => {
  return restore(undefined);
});

for (const [kind, make] of Object.entries(KINDS)) {
  test(`Source over TLS with ${kind} shows nobody on the way a byte of the guest`, async () => {
    await using both = await make();
    await restore(both.encryption);
  });
}

for (const postcopy of ["never", "now"] as const) {
  for (const over of ["in clear", "over TLS"] as const) {
    const what = over === "in clear" ? "every page" : "no byte";
    test(`LiveSource ${over}, postcopy ${postcopy}, shows ${what} of the guest on the way`, () => {
      return moveLive(postcopy, over);
    });
  }
}
