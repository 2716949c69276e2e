/** Bits that change on the way, anywhere in a migration over TLS: it pauses or fails, and no byte is wrong. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { openImage } from "../../image/open_image.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { WorkloadGuest } from "../../workload/workload_guest.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay, type Relayed } from "../support/fault_relay.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { StatusLog } from "../support/status_log.ts";
import { preSharedKey } from "./credentials.ts";

const PAGES = 300;
const ROUNDS = 2;
/** Bytes of a handshake with a key, each way: what is changed there is another test's. */
const HANDSHAKE = 700;
/** Bytes that certainly come on a main channel behind that, when the other takes a part of the pages. */
const CERTAIN = 100_000;
/** What an end says of a session in which a record was not what it was. */
const BROKEN = /TLS failed|does not speak TLS|decryption failed|bad record|went away|for \d+ s/;

/** Where a bit changes. */
interface Place {
  readonly channel: "main" | "preempt";
  readonly way: "onward" | "back";
  readonly at: number;
}

function drawPlace(random: Random, mode: Mode): Place {
  if (mode !== "vanilla" && random.oneIn(3)) {
    return { channel: "preempt", way: "onward", at: HANDSHAKE + random.below(8000) };
  }
  if (random.oneIn(3)) {
    return { channel: "main", way: "back", at: HANDSHAKE + random.below(1500) };
  }
  const most = random.pick([3000, CERTAIN]); // few bytes are where the guest does not run yet
  return { channel: "main", way: "onward", at: HANDSHAKE + random.below(most) };
}

/** @returns whether a bit was changed */
async function migrate(mode: Mode, { channel, way, at }: Place): Promise<boolean> {
  await using both = await preSharedKey();
  const { source: client, destination: server } = both.encryption;
  using file = await TestImage.make({ ram: PAGES });
  using image = await openImage(file.path);
  const guest = new WorkloadGuest({ threads: 1, write: true, untilTouched: true });
  await using destination = new Destination({ guest, tls: server, stallTimeout: 3000 });
  await using relay = await FaultRelay.start(await destination.listen(LOOPBACK));
  const log = new StatusLog();
  await using source = new Source(image, {
    ...{ mode, to: relay.address, tls: client, stallTimeout: 3000, onStatus: log.add },
  });
  let hit: Relayed | undefined;
  if (channel === "preempt") relay.next(() => {});
  relay.next((connection) => {
    hit = connection;
    connection.flipAt(at, way);
  });
  const arrived = destination.finished.then(() => undefined, (error: Error) => error);
  const error = await within(
    `the source to end: ${JSON.stringify({ mode, channel, way, at })}`,
    source.run().then(() => undefined, (error: Error) => error),
  );
  const what = `bit of byte ${at} of ${channel} ${way}`;
  if (error !== undefined) {
    // The guest was not handed over: it has not run there, and what was said is why.
    assertEquals([hit?.flipped, source.status], [true, "failed"], `${what}: ${error.message}`);
    assertMatch(error.message, BROKEN, what);
    await destination.close();
    await guest.stop();
    assertEquals(guest.statistics().touched, 0);
    await arrived;
    return true;
  }
  assertEquals(await within("the destination to end", arrived), undefined);
  await guest.ended;
  assertEquals(guest.statistics().failures, [], what);
  assertEquals(await guest.check(), { pages: file.pages, wrongPages: 0 }, what);
  file.assertUntouched();
  const pauses = log.items.filter(({ status }) => status === "postcopy-paused");
  if (!hit?.flipped) {
    assertEquals(pauses, [], what);
    return false;
  }
  assertGreater(pauses.length, 0, `${what}: nobody noticed`);
  for (const { reason } of pauses) assertMatch(String(reason?.message), BROKEN, what);
  return true;
}

for (const mode of MODES) {
  Deno.test(
    `Both ends in mode ${mode} lose no byte when a bit changes on the way, wherever that is`,
    leavingNoDescriptors(async () => {
      const random = new Random(0xb17 + MODES.indexOf(mode));
      let flipped = 0;
      for (let round = 0; round < ROUNDS; round++) {
        if (await migrate(mode, drawPlace(random, mode))) flipped++;
      }
      assert(flipped > 0, "No bit was changed");
    }),
  );
}
