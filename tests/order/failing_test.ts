/** What fails while pages go before the guest runs ends the migration: the guest ran nowhere. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { guestOf } from "../../image/guest_stamp.ts";
import { writeOrderFile } from "../../image/order/order_file.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { ServeProcess } from "../support/processes.ts";

/** More than any socket holds. */
const PAGES = 16_384;
const ORDER = [{ block: "ram", offset: 0, length: (PAGES - 1) * 4096 }];
const WARM = 60_000;

/** Runs a source until the destination has the first page, of very many that go before, and lets `act` end it. */
async function failing(
  act: (scene: { source: Source; destination: HostileDestination; path: string }) => unknown,
  check: (error: Error & { code?: string }, source: Source) => void,
  options: Partial<SourceOptions> = {},
): Promise<void> {
  using file = await TestImage.make({ ram: PAGES }, { zeroEvery: 0 });
  using image = await openImage(file.path);
  using destination = await HostileDestination.listen({ receiveBuffer: 4096 });
  const how = { to: destination.address, order: ORDER, warm: WARM, ...options };
  await using source = new Source(image, how);
  const run = source.run();
  run.catch(() => {}); // awaited below
  await within("the first page", destination.play("pages"));
  await until("early pages", () => source.statistics().order!.early > 0);
  assertEquals([source.guestMayRun, source.status], [false, "active"]);
  await act({ source, destination, path: file.path });
  const error = await assertRejects(() => within("the source to fail", run), Error);
  assertEquals([source.guestMayRun, source.ranNowhere], [false, true]);
  check(error, source);
}

Deno.test(
  "Source fails when the destination goes away while pages go before the guest runs",
  leavingNoDescriptors(() =>
    failing(
      ({ destination }) => destination[Symbol.dispose](),
      ({ code }, { status }) => assertEquals([code, status], ["CONNECTION_LOST", "failed"]),
    )
  ),
);

Deno.test(
  "Source that is closed while pages go before the guest runs is cancelled",
  leavingNoDescriptors(() =>
    failing(
      ({ source }) => source.close(),
      ({ code }, { status }) => assertEquals([code, status], ["CANCELLED", "cancelled"]),
    )
  ),
);

Deno.test(
  "Source fails when a destination takes none of the pages that go before the guest runs",
  leavingNoDescriptors(() =>
    failing(
      () => {},
      ({ code, message }) => {
        assertEquals(code, "STALLED");
        assertMatch(message, /main channel/);
      },
      { stallTimeout: 2000 },
    )
  ),
);

Deno.test(
  "Source fails when the image changes while pages go before the guest runs",
  leavingNoDescriptors(() =>
    failing(
      async ({ path, destination }) => {
        await Deno.utime(path, 1, 1);
        destination.play().catch(() => {});
      },
      ({ code }) => assertEquals(code, "IMAGE_CHANGED"),
    )
  ),
);

Deno.test(
  "Source fails when its thread dies while pages go before the guest runs",
  leavingNoDescriptors(async () => {
    await using pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1, linger: 0 });
    const thread = new URL("../../server/sending/background_worker.ts", import.meta.url);
    await failing(
      () => pool.kill(thread),
      ({ code }) => assertEquals(code, "THREAD_DIED"),
      { pool },
    );
  }),
);

/** Keeps an order beside an image that has all of it but a page. */
async function keepOrder(image: TestImage): Promise<void> {
  using opened = await openImage(image.path);
  const pages = Int32Array.from({ length: PAGES - 1 }, (_, page) => page);
  const list = { pages, idle: new Uint8Array(PAGES - 1) };
  const order = { stamp: await guestOf(opened), layout: opened.layout, list };
  assertEquals(await writeOrderFile(image.order, order, 0o600), undefined);
}

Deno.test("serve that is interrupted while pages go before the guest runs leaves all as it was", async () => {
  using image = await TestImage.make({ ram: PAGES }, { zeroEvery: 0 });
  await keepOrder(image);
  using destination = await HostileDestination.listen({ receiveBuffer: 4096 });
  const args = ["--warm", `${WARM}`];
  await using serve = new ServeProcess(image.path, formatSocketAddress(destination.address), args);
  await within("the first page", destination.play("pages"));
  serve.kill("SIGTERM");
  const { code, errors } = await within("serve to end", serve.ended);
  assertEquals(code, 130);
  assertMatch(errors, /^postcopy: Interrupted: the image is as it was$/m);
  image.assertUntouched();
});
