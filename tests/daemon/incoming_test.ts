/** Machines that the daemon takes into images. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import type { ReceiveStatistics } from "../../client/receive/receive_statistics.ts";
import type { SessionView } from "../../daemon/service/session.ts";
import { openImage } from "../../image/open_image.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { restore } from "./destinations.ts";
import { SLOW } from "./one_image.ts";
import { TestDaemon } from "./test_daemon.ts";

const INCOMING = { direction: "incoming", image: "copy", listen: "tcp:127.0.0.1:0" };

/** Starts a daemon that sends an image to itself. */
async function withBoth(
  more: Record<string, unknown>,
  test: (daemon: TestDaemon, image: TestImage, ids: readonly [string, string]) => Promise<void>,
): Promise<void> {
  using image = await TestImage.make({ ram: 1000, rom: 33 });
  await using daemon = await TestDaemon.start();
  await daemon.addImage(image.path, "vm");
  const incoming = await daemon.done("POST", "/v1/migrations", INCOMING);
  const outgoing = await daemon.done("POST", "/v1/migrations", restore("vm", incoming.peer, more));
  await test(daemon, image, [incoming.id, outgoing.id]);
  assertEquals(daemon.mistakes, []);
}

Deno.test(
  "the daemon takes what another of its sessions sends into an image of the same memory",
  leavingNoDescriptors(() =>
    withBoth({}, async (daemon, image, ids) => {
      const ended = await Promise.all(ids.map((id) => daemon.waits(id)));
      assertEquals(ended.map(({ status }) => status), ["completed", "completed"]);
      assertEquals((ended[0]!.statistics as ReceiveStatistics).pages, image.pages);
      using copy = await openImage(`${daemon.images}/copy`);
      assertImageMemory(copy, image.memory);
      const refused = await daemon.refused("POST", "/v1/migrations", INCOMING);
      assertEquals([refused.status, refused.code], [409, "EEXIST"]);
    })
  ),
);

Deno.test(
  "the daemon pauses an incoming migration, tells what to type at the source, and goes on",
  leavingNoDescriptors(() =>
    withBoth({ maxPostcopyBandwidth: SLOW }, async (daemon, image, [incoming, outgoing]) => {
      const path = `/v1/migrations/${incoming}`;
      await daemon.waits(incoming, "postcopy-active");
      const unsupported = await daemon.refused("PATCH", path, { maxPostcopyBandwidth: 1 });
      assertEquals([unsupported.status, unsupported.code], [409, "UNSUPPORTED"]);
      const stake = await daemon.refused("POST", `${path}/cancel`);
      assertEquals([stake.status, stake.code], [409, "GUEST_AT_STAKE"]);
      assert(stake.detail.includes(`postcopy recover ${incoming} `), stake.detail);
      assert(!/interrupt|--recover/.test(stake.detail), stake.detail);
      await daemon.waits(outgoing, "postcopy-active");
      const paused = await daemon.done("POST", `${path}/pause`);
      // The source connects again by itself, and may have done so.
      if (paused.status === "postcopy-paused") {
        assertEquals(paused.recover, `migrate -d -r ${paused.peer}`);
        assert(paused.remedy !== undefined);
      }
      await daemon.done("PATCH", `/v1/migrations/${outgoing}`, { maxPostcopyBandwidth: 0 });
      const ended = await Promise.all([incoming, outgoing].map((id) => daemon.waits(id)));
      assertEquals(ended.map(({ status }) => status), ["completed", "completed"]);
      using copy = await openImage(`${daemon.images}/copy`);
      assertImageMemory(copy, image.memory);
    })
  ),
);

Deno.test(
  "the daemon ends an incoming migration that nobody has come for, and leaves no file",
  leavingNoDescriptors(async () => {
    await using daemon = await TestDaemon.start();
    const { id, status } = await daemon.done("POST", "/v1/migrations", INCOMING);
    assertEquals(status, "setup");
    const ended = await daemon.done("POST", `/v1/migrations/${id}/cancel`);
    assertEquals(ended.status, "cancelled");
    assertEquals([...Deno.readDirSync(daemon.images)], []);
    const { migrations } = await daemon.done<{ migrations: SessionView[] }>(
      "GET",
      "/v1/migrations",
    );
    assertEquals(migrations.map((each) => each.id), [id]);
  }),
);
