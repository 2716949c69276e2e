/** Sessions whose image is read first, because it has no index yet. */
import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Buffer } from "node:buffer";
import { viewMemory } from "../../ffi/memory.ts";
import type { SessionView } from "../../daemon/service/session.ts";
import { within } from "../support/deadline.ts";
import { makeCapture, PAGE, part, testPage } from "../image/captures.ts";
import { restore, Waiting } from "./destinations.ts";
import { TestDaemon } from "./test_daemon.ts";

/** More than is read in one step, which is 64 MiB; and than in two. */
const PAGES = 17_000;
const MANY_PAGES = 33_500;
/** Every page is one of so many. */
const KINDS = 7;
const CONTENT = Array.from({ length: KINDS }, (_, kind) => testPage(kind));

/** Starts a daemon that has a saved QEMU of which there is no index. */
async function withCapture(
  pages: number,
  test: (daemon: TestDaemon, path: string) => Promise<void>,
): Promise<void> {
  await using daemon = await TestDaemon.start();
  const shape = { blocks: [{ name: "pc.ram", usedLength: pages * PAGE }] };
  const bytes = makeCapture(shape, (encoder) =>
    part(encoder, () => {
      encoder.block("pc.ram");
      for (let page = 0; page < pages; page++) encoder.page(page * PAGE, CONTENT[page % KINDS]!, 0);
    }));
  const path = `${daemon.images}/vm`;
  await Deno.writeFile(path, bytes);
  await test(daemon, path);
  assertEquals(daemon.mistakes, []);
}

function sessionsOf(daemon: TestDaemon): Promise<number[]> {
  return daemon.service.images.list().then((all) => all.map(({ sessions }) => sessions));
}

Deno.test("POST /v1/migrations answers before an image was read that has no index, and the guest gets all of it", () =>
  withCapture(PAGES, async (daemon) => {
    await using waiting = await Waiting.start();
    const key = { headers: { "idempotency-key": "one" } };
    const body = restore("vm", waiting.to);
    const begun = await daemon.ask<SessionView>("POST", "/v1/migrations", body, key);
    assertEquals([begun.status, begun.body.status], [201, "setup"]);
    assert(begun.body.reason?.includes("it has no index yet"), begun.body.reason);
    // It is begun, so it is once: whatever comes of it.
    const again = await daemon.ask<SessionView>("POST", "/v1/migrations", body, key);
    assertEquals([again.status, again.body.id], [200, begun.body.id]);
    const ended = await daemon.waits(begun.body.id);
    assertEquals([ended.status, ended.reason], ["completed", undefined]);
    await within("the destination", waiting.destination.finished);
    const { address, length } = waiting.guest.blocks[0]!;
    const memory = Buffer.from(viewMemory(address, length).buffer);
    const wrong = Array.from({ length: PAGES }, (_, page) => page).filter((page) =>
      memory.compare(CONTENT[page % KINDS]!, 0, PAGE, page * PAGE, (page + 1) * PAGE) !== 0
    );
    assertEquals(wrong, []);
    const kinds = daemon.service.events.read(0).events.map(({ event }) => event.event);
    assertEquals([kinds[0], kinds.at(-1)], ["started", "ended"]);
    assertEquals(await sessionsOf(daemon), [0]);
    // From now on there is an index, and what keeps a session from starting is answered again.
    const refused = await daemon.refused(
      "POST",
      "/v1/migrations",
      restore("vm", waiting.to, { hugePages: ["none=1G"] }),
    );
    assert(refused.detail.includes("none"), refused.detail);
  }));

Deno.test("an image that turns out to be unusable ends the session that was begun, with the same code", () =>
  withCapture(MANY_PAGES, async (daemon, path) => {
    await Deno.truncate(path, MANY_PAGES * PAGE); // without the last of it
    const { id, status } = await daemon.done(
      "POST",
      "/v1/migrations",
      restore("vm", "tcp:127.0.0.1:1"),
    );
    assertEquals(status, "setup");
    const ended = await daemon.waits(id);
    assertEquals([ended.status, ended.code], ["failed", "truncated"]);
    assert(ended.reason?.includes(path), ended.reason);
    assertEquals(await sessionsOf(daemon), [0]);
    assertEquals((await daemon.service.store.read()).kept, []);
  }));

Deno.test("a session whose image is being read is cancelled at once, and nothing is kept of it", () =>
  withCapture(PAGES, async (daemon) => {
    const { service } = daemon;
    const request = { direction: "outgoing", image: "vm", to: "tcp:127.0.0.1:1" } as const;
    using shared = await service.images.begin("vm"); // whose end is waited for
    const { session: { id, status } } = await service.start(request);
    assertEquals(status, "setup");
    const limited = service.setLimits(id, { maxPostcopyBandwidth: 1 });
    assertEquals(limited.status, "setup");
    const ended = await service.cancel(id);
    assertEquals([ended.status, ended.code], ["cancelled", "CANCELLED"]);
    assertEquals(await sessionsOf(daemon), [1]);
    assertEquals((await within("the image", shared.image)).blocks.length, 1);
    assertEquals((await service.store.read()).kept, []);
    assertEquals((await daemon.refused("POST", `/v1/migrations/${id}/pause`)).code, "WRONG_STATE");
  }));

Deno.test("ImageCatalog reads an image no further when nobody waits for it any more", () =>
  withCapture(MANY_PAGES, async ({ service: { images } }) => {
    const one = await images.begin("vm");
    const other = await images.begin("vm");
    await within("the reading", one.indexing);
    one[Symbol.dispose]();
    await within("the same, for who comes later", other.indexing);
    other[Symbol.dispose]();
    await within("its end", assertRejects(() => other.image, DOMException, "abort"));
    using open = await images.open("vm");
    assertEquals(open.image.blocks.length, 1);
  }));
