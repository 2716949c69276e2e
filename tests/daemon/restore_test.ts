/** Restores that the daemon is asked for, to destinations of ours: memory is compared byte by byte. */
import "../support/native.ts";
import { assert, assertEquals, assertNotEquals } from "@std/assert";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";
import type { SessionView } from "../../daemon/service/session.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { restore, Waiting } from "./destinations.ts";
import { keptIn, marksIn, SLOW, withImage } from "./one_image.ts";

Deno.test(
  "POST /v1/migrations restores a guest, and tells of it until it is forgotten",
  leavingNoDescriptors(() =>
    withImage(async (daemon, image) => {
      await using waiting = await Waiting.start();
      const { last } = daemon.service.events;
      const answer = await daemon.ask<SessionView>(
        "POST",
        "/v1/migrations",
        restore("vm", waiting.to),
      );
      assertEquals(answer.status, 201);
      const { id, direction, image: name, peer } = answer.body;
      assertEquals(answer.headers.get("location"), `/v1/migrations/${id}`);
      assertEquals([direction, name, peer], ["outgoing", "vm", waiting.to]);
      const ended = await daemon.waits(id);
      assertEquals([ended.status, ended.reason], ["completed", undefined]);
      const statistics = ended.statistics as SourceStatistics;
      assertEquals([statistics.status, statistics.ram.remaining], ["completed", 0]);
      await within("the destination", waiting.destination.finished);
      image.assertEqualMemory(waiting.guest.blocks);
      const kinds = daemon.service.events.read(last).events.map(({ event }) => event.event);
      assertEquals([kinds[0], kinds.at(-1)], ["started", "ended"]);
      assertEquals([marksIn(daemon), keptIn(daemon)], [[], []]);
      const { migrations } = await daemon.done<{ migrations: SessionView[] }>(
        "GET",
        "/v1/migrations",
      );
      assertEquals(migrations.map((each) => each.id), [id]);
      assertEquals((await daemon.ask("DELETE", `/v1/migrations/${id}`)).status, 204);
      assertEquals((await daemon.refused("GET", `/v1/migrations/${id}`)).status, 404);
    })
  ),
);

Deno.test(
  "the daemon restores ten guests at once, of one image, and each has all of its memory",
  leavingNoDescriptors(() =>
    withImage(async (daemon, image) => {
      await using stack = new AsyncDisposableStack();
      const all: Waiting[] = [];
      for (let i = 0; i < 10; i++) all.push(stack.use(await Waiting.start()));
      const started = await Promise.all(
        all.map(({ to }) => daemon.done("POST", "/v1/migrations", restore("vm", to))),
      );
      assertEquals(new Set(started.map(({ id }) => id)).size, 10);
      const ended = await Promise.all(started.map(({ id }) => daemon.waits(id)));
      assertEquals(ended.map(({ status }) => status), Array(10).fill("completed"));
      for (const { destination, guest } of all) {
        await within("the destination", destination.finished);
        image.assertEqualMemory(guest.blocks);
      }
      assertEquals(marksIn(daemon), []);
    })
  ),
);

Deno.test(
  "the daemon starts a request once that comes again with its key",
  leavingNoDescriptors(() =>
    withImage(async (daemon) => {
      await using waiting = await Waiting.start();
      const headers = { "idempotency-key": "order-7" };
      const body = restore("vm", waiting.to);
      const ask = (what: unknown) =>
        daemon.ask<SessionView>("POST", "/v1/migrations", what, { headers });
      const answers = await Promise.all([ask(body), ask(body), ask(body)]);
      assertEquals(answers.map(({ status }) => status).sort(), [200, 200, 201]);
      assertEquals(new Set(answers.map(({ body }) => body.id)).size, 1);
      const { id } = answers[0]!.body;
      assertEquals((await daemon.waits(id)).status, "completed");
      const again = await ask(body);
      assertEquals([again.status, again.body.id, again.body.status], [200, id, "completed"]);
      assertEquals(again.headers.get("idempotency-replayed"), "true");
      const other = await ask({ ...body, spin: 1 });
      assertEquals([other.status, (other.body as unknown as { code: string }).code], [
        422,
        "KEY_REUSED",
      ]);
      assertEquals(daemon.service.list().length, 1);
    })
  ),
);

Deno.test(
  "the daemon serves one image to two destinations at once, and none to one that is served already",
  leavingNoDescriptors(() =>
    withImage(async (daemon, image) => {
      await using one = await Waiting.start();
      await using other = await Waiting.start();
      const slow = { maxPostcopyBandwidth: SLOW };
      const first = await daemon.done("POST", "/v1/migrations", restore("vm", one.to, slow));
      await daemon.waits(first.id, "postcopy-active");
      const refused = await daemon.refused("POST", "/v1/migrations", restore("vm", one.to));
      assertEquals([refused.status, refused.code], [409, "BEING_SERVED"]);
      // However the host is written.
      const port = one.to.split(":").at(-1);
      const named = await daemon.refused(
        "POST",
        "/v1/migrations",
        restore("vm", `tcp:localhost:${port}`),
      );
      assertEquals(named.code, "BEING_SERVED");
      // On that host it may be the guest that runs: to start it once more is to be said.
      const second = await daemon.done("POST", "/v1/migrations", restore("vm", other.to));
      assertNotEquals(second.id, first.id);
      assertEquals((await daemon.waits(second.id)).status, "completed");
      await within("the other", other.destination.finished);
      image.assertEqualMemory(other.guest.blocks);
      await daemon.done("PATCH", `/v1/migrations/${first.id}`, { maxPostcopyBandwidth: 0 });
      assertEquals((await daemon.waits(first.id)).status, "completed");
      await within("the first", one.destination.finished);
      image.assertEqualMemory(one.guest.blocks);
    })
  ),
);

Deno.test(
  "the daemon cancels no migration whose guest would be lost, unless it is forced to",
  leavingNoDescriptors(() =>
    withImage(async (daemon) => {
      await using waiting = await Waiting.start();
      const { id } = await daemon.done(
        "POST",
        "/v1/migrations",
        restore("vm", waiting.to, { maxPostcopyBandwidth: SLOW }),
      );
      await daemon.waits(id, "postcopy-active");
      assertEquals([marksIn(daemon).length, keptIn(daemon)], [1, [`${id}.session.json`]]);
      const path = `/v1/migrations/${id}/cancel`;
      for (const body of [undefined, {}, { force: false }]) {
        const refused = await daemon.refused("POST", path, body);
        assertEquals([refused.status, refused.code], [409, "GUEST_AT_STAKE"]);
        assert(/lacks at least \d+ pages there/.test(refused.detail), refused.detail);
        // Of what the daemon's user can do, not of commands that would serve the image beside it.
        assert(refused.detail.includes(`postcopy recover ${id} `), refused.detail);
        assert(!/serve|--recover|start-anew/.test(refused.detail), refused.detail);
      }
      assertEquals((await daemon.refused("DELETE", `/v1/migrations/${id}`)).code, "WRONG_STATE");
      assertEquals((await daemon.done("GET", `/v1/migrations/${id}`)).status, "postcopy-active");
      const ended = await daemon.done("POST", path, { force: true });
      assertEquals([ended.status, ended.code], ["cancelled", "CANCELLED"]);
      // The mark stays: a guest that was handed over is not started once more.
      assertEquals([marksIn(daemon).length, keptIn(daemon)], [1, []]);
      const refused = await daemon.refused("POST", "/v1/migrations", restore("vm", waiting.to));
      assertEquals([refused.status, refused.code], [409, "HANDED_OVER"]);
      assertEquals((await daemon.refused("POST", path)).code, "WRONG_STATE");
    })
  ),
);

Deno.test(
  "the daemon cancels a migration that has handed nothing over",
  leavingNoDescriptors(() =>
    withImage(async (daemon) => {
      // It takes connections, and says nothing.
      using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const to = `tcp:127.0.0.1:${silent.addr.port}`;
      const { id } = await daemon.done("POST", "/v1/migrations", restore("vm", to));
      using _connection = await within("its connection", silent.accept());
      const ended = await daemon.done("POST", `/v1/migrations/${id}/cancel`);
      assertEquals(ended.status, "cancelled");
      assertEquals([marksIn(daemon), keptIn(daemon)], [[], []]);
    })
  ),
);

Deno.test(
  "the daemon pauses and recovers a migration, and the guest has all of its memory",
  leavingNoDescriptors(() =>
    withImage(async (daemon, image) => {
      await using waiting = await Waiting.start();
      const slow = { maxPostcopyBandwidth: SLOW };
      const { id } = await daemon.done("POST", "/v1/migrations", restore("vm", waiting.to, slow));
      const path = `/v1/migrations/${id}`;
      assertEquals((await daemon.refused("POST", `${path}/recover`)).code, "WRONG_STATE");
      await daemon.waits(id, "postcopy-active");
      await waiting.runs();
      await daemon.done("POST", `${path}/pause`);
      const paused = await daemon.waits(id, "postcopy-paused");
      assertEquals([paused.status, paused.code], ["postcopy-paused", "PAUSED"]);
      assertEquals(paused.recover, `migrate_recover ${waiting.to}`);
      assert(
        paused.remedy?.includes("Nothing is lost") &&
          paused.remedy.includes(`postcopy cancel ${id} --force`),
      );
      assertEquals((await daemon.refused("POST", `${path}/pause`)).code, "WRONG_STATE");
      await until(
        "the destination's pause",
        () => waiting.destination.status === "postcopy-paused",
      );
      await daemon.done("PATCH", path, { maxPostcopyBandwidth: 0 });
      await daemon.done("POST", `${path}/recover`);
      const ended = await daemon.waits(id);
      assertEquals([ended.status, ended.remedy, ended.recover], [
        "completed",
        undefined,
        undefined,
      ]);
      await within("the destination", waiting.destination.finished);
      image.assertEqualMemory(waiting.guest.blocks);
      assertEquals([marksIn(daemon), keptIn(daemon)], [[], []]);
    })
  ),
);

Deno.test(
  "the daemon recovers a migration at another address, where the destination is now",
  leavingNoDescriptors(() =>
    withImage(async (daemon, image) => {
      await using waiting = await Waiting.start();
      await using relay = await FaultRelay.start(waiting.address);
      const to = formatSocketAddress(relay.address);
      const slow = { maxPostcopyBandwidth: SLOW };
      const { id } = await daemon.done("POST", "/v1/migrations", restore("vm", to, slow));
      await daemon.waits(id, "postcopy-active");
      await waiting.runs();
      await daemon.done("POST", `/v1/migrations/${id}/pause`);
      await daemon.waits(id, "postcopy-paused");
      await until(
        "the destination's pause",
        () => waiting.destination.status === "postcopy-paused",
      );
      await daemon.done("PATCH", `/v1/migrations/${id}`, { maxPostcopyBandwidth: 0 });
      // Not where another session sends.
      await using other = await Waiting.start();
      const busy = await daemon.done("POST", "/v1/migrations", restore("vm", other.to, slow));
      await daemon.waits(busy.id, "postcopy-active");
      const path = `/v1/migrations/${id}/recover`;
      const refused = await daemon.refused("POST", path, { to: other.to });
      assertEquals(refused.code, "BEING_SERVED");
      assert(refused.detail.includes(busy.id), refused.detail);
      await daemon.done("POST", `/v1/migrations/${busy.id}/cancel`, { force: true });
      const recovered = await daemon.done("POST", `/v1/migrations/${id}/recover`, {
        to: waiting.to,
      });
      assertEquals(recovered.peer, waiting.to);
      assertEquals((await daemon.waits(id)).status, "completed");
      await within("the destination", waiting.destination.finished);
      image.assertEqualMemory(waiting.guest.blocks);
    })
  ),
);

Deno.test(
  "the daemon ends a precopy over multifd when it is asked to, and the rest follows on demand",
  leavingNoDescriptors(() =>
    withImage(async (daemon, image) => {
      await using waiting = await Waiting.start({ multifdChannels: 2 });
      const { id } = await daemon.done(
        "POST",
        "/v1/migrations",
        restore("vm", waiting.to, {
          multifd: { channels: 2 },
          postcopyAfter: "signal",
          maxPostcopyBandwidth: SLOW,
        }),
      );
      await daemon.waits(id, "active");
      const path = `/v1/migrations/${id}`;
      await until("the first pages", async () => {
        const { statistics } = await daemon.done("GET", path);
        return (statistics as SourceStatistics).ram.transferred > 1 << 14;
      });
      await daemon.done("POST", `${path}/postcopy`);
      await daemon.waits(id, "postcopy-active");
      await daemon.done("PATCH", path, { maxPostcopyBandwidth: 0 });
      assertEquals((await daemon.waits(id)).status, "completed");
      await within("the destination", waiting.destination.finished);
      image.assertEqualMemory(waiting.guest.blocks);
    })
  ),
);

Deno.test(
  "the daemon tells why a migration failed, as the module says it",
  leavingNoDescriptors(() =>
    withImage(async (daemon) => {
      using gone = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const to = `tcp:127.0.0.1:${gone.addr.port}`;
      gone.close();
      const { id } = await daemon.done("POST", "/v1/migrations", restore("vm", to));
      const ended = await daemon.waits(id);
      assertEquals([ended.status, ended.code], ["failed", "ECONNREFUSED"]);
      assert(ended.reason?.includes("connect"), ended.reason);
      assertEquals([marksIn(daemon), keptIn(daemon)], [[], []]);
    })
  ),
);
