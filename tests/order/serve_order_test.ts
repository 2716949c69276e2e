/** The order that `serve` keeps beside an image, and goes by. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";
import { readOrderFile } from "../../image/order/order_file.ts";
import { MOST_ORDER_BYTES, type OwnedOrder } from "../../image/order/order_codec.ts";
import { within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce } from "../support/migrate.ts";
import { ServeProcess, WorkloadProcess } from "../support/processes.ts";

const PAGES = 600;
/** What is not asked for takes seconds: the guest asks. */
const SLOW = ["--max-postcopy-bandwidth", "1M"];

interface ServedOnce {
  readonly statistics: SourceStatistics;
  readonly errors: string;
}

/** Serves to a guest that touches each page once, and compares every byte. */
async function serveOnce(image: TestImage, ...args: string[]): Promise<ServedOnce> {
  await using guest = new WorkloadProcess("tcp:127.0.0.1:0", ["--pattern", "once"]);
  const to = await guest.address();
  await using source = new ServeProcess(image.path, to, [...SLOW, ...args]);
  const statistics = await source.statistics();
  const { errors } = await source.ended;
  await within("the workload to end", guest.ended);
  const result = guest.last("result")!;
  assertEachPageOnce({ source: statistics, destination: result.destination });
  assertEquals(result.check, { pages: image.pages, wrongPages: 0 });
  return { statistics, errors };
}

async function orderOf(path: string): Promise<OwnedOrder> {
  const order = await readOrderFile(path);
  assert(typeof order === "object", `${order}`);
  return order;
}

Deno.test("serve keeps what is asked for, and sends it before the guest runs the next time", async () => {
  using image = await TestImage.make({ ram: PAGES }, { zeroEvery: 0 });
  const first = await serveOnce(image);
  assertEquals(first.statistics.order, undefined);
  const asked = first.statistics.ram["postcopy-requests"];
  const kept = await orderOf(image.order);
  assertEquals(kept.list.pages.length, asked);
  const { mode } = Deno.statSync(image.order);
  assertEquals(mode! & 0o777, Deno.statSync(image.path).mode! & 0o666);

  const second = await serveOnce(image, "--warm", "500");
  const { planned, early } = second.statistics.order!;
  assertEquals(planned, asked);
  assertGreater(early, 0);
  // All that was asked for is known now.
  assertGreater((await orderOf(image.order)).list.pages.length, asked - 1);

  image.assertUntouched();

  const third = await serveOnce(image, "--warm", "0");
  assertEquals(third.statistics.order!.early, 0);
});

Deno.test("serve --order off neither uses an order nor keeps one", async () => {
  using image = await TestImage.make({ ram: 64 }, { zeroEvery: 0 });
  await Deno.writeTextFile(image.order, "nothing that could be used");
  const { statistics, errors } = await serveOnce(image, "--order", "off");
  assertEquals(statistics.order, undefined);
  assert(!errors.includes("Order"), errors);
  assertEquals(await Deno.readTextFile(image.order), "nothing that could be used");
});

Deno.test("serve --record sends what is asked for alone for a while, and says what it recorded", async () => {
  using image = await TestImage.make({ ram: 200 }, { zeroEvery: 0 });
  const { statistics, errors } = await serveOnce(image, "--record", "1");
  assertGreater(statistics["total-time"], 1000);
  const { pages } = (await orderOf(image.order)).list;
  assertEquals(pages.length, statistics.ram["postcopy-requests"]);
  assertMatch(errors, /^Recorded: \d+ pages asked for, \d+ in .*image\.postcopy-order$/m);
  const again = await serveOnce(image, "--record", "1");
  assertEquals(again.statistics.order!.early, 0);
  assertMatch(again.errors, /; of \d+ in the order before \d+ were touched and \d+ were not$/m);
});

/** Makes a file of what a name leads to, each of them no order of the image. */
const OTHERS: readonly [string, RegExp, (path: string) => Promise<unknown>][] = [
  ["damaged", /: it fails its checksum$/m, async (path) => {
    using other = await TestImage.make({ ram: 64 }, { zeroEvery: 0 });
    await serveOnce(other);
    const bytes = await Deno.readFile(other.order);
    bytes[bytes.length - 1]! ^= 1;
    await Deno.writeFile(path, bytes);
  }],
  ["of another save", /: it is of another save$/m, async (path) => {
    using other = await TestImage.make({ ram: 64 }, { zeroEvery: 0, seed: 8 });
    await serveOnce(other);
    await Deno.copyFile(other.order, path);
  }],
  ["of another size", /: it is of a machine with other RAM blocks$/m, async (path) => {
    using other = await TestImage.make({ ram: 65 }, { zeroEvery: 0 });
    await serveOnce(other);
    await Deno.copyFile(other.order, path);
  }],
  ["empty", /: it is shorter than its header$/m, (path) => Deno.writeTextFile(path, "")],
  ["huge", /: it has \d+ bytes, and an order at most \d+$/m, async (path) => {
    await Deno.writeTextFile(path, "");
    await Deno.truncate(path, 100 * MOST_ORDER_BYTES);
  }],
];

for (const [what, note, make] of OTHERS) {
  Deno.test(`serve with an order that is ${what} says so in a line, serves, and keeps its own`, async () => {
    using image = await TestImage.make({ ram: 64 }, { zeroEvery: 0 });
    await make(image.order);
    const { statistics, errors } = await serveOnce(image);
    assertEquals(statistics.order, undefined);
    const lines = errors.split("\n").filter((line) => line.includes("rder"));
    assertEquals(lines.length, 1, errors);
    assertMatch(lines[0]!, /^Order .*image\.postcopy-order is not used: /);
    assertMatch(lines[0]!, note);
    const { pages } = (await orderOf(image.order)).list;
    assertEquals(pages.length, statistics.ram["postcopy-requests"]);
  });
}

Deno.test("serve --order writes over nothing that is no order of its guest", async () => {
  using image = await TestImage.make({ ram: 64 }, { zeroEvery: 0 });
  // The image itself, by a slip of the hand.
  const { errors } = await serveOnce(image, "--order", image.path);
  assertMatch(
    errors,
    /^Order is not kept, .*image stays as it is: it is no order of this program: /m,
  );
  image.assertUntouched();
});

Deno.test("serve of one image to several at once leaves an order that is whole", async () => {
  using image = await TestImage.make({ ram: PAGES }, { zeroEvery: 0 });
  const served = await Promise.all(Array.from({ length: 3 }, () => serveOnce(image)));
  const { pages } = (await orderOf(image.order)).list;
  const asked = served.map(({ statistics }) => statistics.ram["postcopy-requests"]);
  assertGreater(pages.length, Math.min(...asked) - 1);
  image.assertUntouched();
});
