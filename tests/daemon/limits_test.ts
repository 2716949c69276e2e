/** How many sessions a daemon has, what they share, and how they end with it. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";
import type { OutgoingRequest } from "../../daemon/service/requests.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { restore, Waiting } from "./destinations.ts";
import { TestDaemon } from "./test_daemon.ts";
import { keptIn, marksIn, SLOW, withImage } from "./one_image.ts";

Deno.test(
  "the daemon runs as many sessions as it may, and one more when one has ended",
  leavingNoDescriptors(() =>
    withImage(async (daemon) => {
      await using one = await Waiting.start();
      await using other = await Waiting.start();
      const { id } = await daemon.done(
        "POST",
        "/v1/migrations",
        restore("vm", one.to, { maxPostcopyBandwidth: SLOW }),
      );
      await daemon.waits(id, "postcopy-active");
      const refused = await daemon.refused("POST", "/v1/migrations", restore("vm", other.to));
      assertEquals([refused.status, refused.code], [503, "TOO_MANY_SESSIONS"]);
      await daemon.done("PATCH", `/v1/migrations/${id}`, { maxPostcopyBandwidth: 0 });
      await daemon.waits(id);
      const next = await daemon.done("POST", "/v1/migrations", restore("vm", other.to));
      assertEquals((await daemon.waits(next.id)).status, "completed");
    }, "limits.sessions = 1")
  ),
);

Deno.test(
  "the daemon starts nothing that would take more memory than it may have",
  () =>
    withImage(async (daemon) => {
      const refused = await daemon.refused(
        "POST",
        "/v1/migrations",
        restore("vm", "tcp:127.0.0.1:1"),
      );
      assertEquals([refused.status, refused.code], [503, "TOO_MUCH_MEMORY"]);
      assert(refused.remedy?.includes("limits.memory"), refused.remedy);
    }, 'limits.memory = "1M"'),
);

Deno.test(
  "drain lets a guest have all of its memory, ends what nobody needs, and takes nothing new",
  leavingNoDescriptors(() =>
    withImage(async (daemon, image) => {
      await using waiting = await Waiting.start();
      using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const idle = await daemon.done(
        "POST",
        "/v1/migrations",
        restore("vm", `tcp:127.0.0.1:${silent.addr.port}`),
      );
      using _connection = await within("its connection", silent.accept());
      const slow = { maxPostcopyBandwidth: SLOW, startAnew: true };
      const { id } = await daemon.done("POST", "/v1/migrations", restore("vm", waiting.to, slow));
      await daemon.waits(id, "postcopy-active");
      const drained = daemon.service.drain();
      assertEquals((await daemon.waits(idle.id)).status, "cancelled");
      const refused = await daemon.refused("POST", "/v1/migrations", restore("vm", waiting.to));
      assertEquals([refused.status, refused.code], [503, "DRAINING"]);
      const health = await daemon.done<{ status: string; sessions: number }>("GET", "/v1/health");
      assertEquals([health.status, health.sessions], ["draining", 1]);
      await daemon.done("PATCH", `/v1/migrations/${id}`, { maxPostcopyBandwidth: 0 });
      await within("the drain", drained);
      assertEquals(daemon.service.get(id).status, "completed");
      await within("the destination", waiting.destination.finished);
      image.assertEqualMemory(waiting.guest.blocks);
    })
  ),
);

Deno.test(
  "a daemon that is closed leaves to the next one what a guest needs",
  leavingNoDescriptors(async () => {
    using image = await TestImage.make({ ram: 2048 });
    await using waiting = await Waiting.start();
    const first = await TestDaemon.start();
    await first.addImage(image.path, "vm");
    const slow = { maxPostcopyBandwidth: SLOW };
    const { id } = await first.done("POST", "/v1/migrations", restore("vm", waiting.to, slow));
    await first.waits(id, "postcopy-active");
    await waiting.runs();
    await first.stop();
    await until("the destination's pause", () => waiting.destination.status === "postcopy-paused");
    await using second = await TestDaemon.start("", first.directory);
    const { kept } = await second.service.store.read();
    assertEquals(kept.map((each) => each.id), [id]);
    const { startedAt } = kept[0]!;
    const again = restore("vm", waiting.to, { recover: true }) as OutgoingRequest;
    await second.service.start(again, undefined, { id, startedAt });
    const ended = await second.waits(id);
    assertEquals([ended.status, ended.startedAt], ["completed", startedAt]);
    await within("the destination", waiting.destination.finished);
    image.assertEqualMemory(waiting.guest.blocks);
    assertEquals([marksIn(second), keptIn(second)], [[], []]);
  }),
);

Deno.test(
  "the daemon's sessions share the bandwidth that is configured",
  leavingNoDescriptors(() =>
    withImage(async (daemon, image) => {
      await using waiting = await Waiting.start();
      const { id } = await daemon.done("POST", "/v1/migrations", restore("vm", waiting.to));
      await daemon.waits(id, "postcopy-active");
      // At 16 KiB a second it stands almost still, though no limit of its own was said.
      const { statistics } = await daemon.done("GET", `/v1/migrations/${id}`);
      assert((statistics as SourceStatistics).ram.remaining > 0);
      assertEquals((await daemon.done("GET", `/v1/migrations/${id}`)).status, "postcopy-active");
      const { config } = daemon.service;
      daemon.service.reload({ ...config, limits: { ...config.limits, bandwidth: 0 } });
      assertEquals((await daemon.waits(id)).status, "completed");
      await within("the destination", waiting.destination.finished);
      image.assertEqualMemory(waiting.guest.blocks);
    }, `limits.bandwidth = ${SLOW}`)
  ),
);
