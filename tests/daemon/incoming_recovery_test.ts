/** A daemon that is killed, or told to end, while it receives a guest that its source cannot take back. */
import "../support/native.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { ApiError } from "../../daemon/command/api_error.ts";
import type { SessionView } from "../../daemon/service/session.ts";
import { parseSocketAddress } from "../../ffi/socket_address.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { ALL, assertPatternImage, PAGES } from "../receive/received.ts";
import { resumeAll } from "../receive/resuming_source.ts";
import { until } from "../support/deadline.ts";
import { DaemonPlace, type DaemonProcess } from "./daemon_process.ts";

/** Has a source hand its guest over, and send some of its pages. */
async function begin(place: DaemonPlace, daemon: DaemonProcess, sent: number) {
  const { id, peer } = await daemon.client.ask<SessionView>("/migrations", {
    method: "POST",
    body: { direction: "incoming", image: "vm", listen: "tcp:127.0.0.1:0" },
  });
  const source = new HostileSource(parseSocketAddress(peer), { ram: PAGES });
  await source.connect();
  await source.switchOver();
  source.encodePages(ALL.slice(0, sent));
  await source.flush();
  // The device state is in the file by then: before that the guest would be handed back.
  await source.hear(({ pongs }) => pongs.includes(3));
  await until("the pages", async () => {
    const { statistics } = await daemon.session(id);
    return "remaining" in statistics && statistics.remaining === PAGES - sent;
  });
  await until("the session to be kept", () => place.kept.length === 1);
  return { id, peer, source };
}

/** The file that a receive has left. */
function left(images: string): string {
  const names = [...Deno.readDirSync(images)].map(({ name }) => name);
  const [partial] = names.filter((name) => name.startsWith("vm.partial-"));
  return partial!;
}

async function withImages(test: (place: DaemonPlace, images: string) => Promise<void>) {
  await using place = new DaemonPlace();
  const directory = `${place.directory}/images`;
  await Deno.mkdir(directory);
  place.configure({}, { images: { directory } });
  await test(place, directory);
}

/** Has the next daemon's source resume where it was told to, and compares the image. */
async function completes(daemon: DaemonProcess, id: string, peer: string, images: string) {
  const paused = await daemon.reaches(id, "postcopy-paused");
  assertEquals([paused.peer, paused.recover], [peer, `migrate -d -r ${peer}`]);
  using source = await resumeAll(parseSocketAddress(peer));
  assertEquals(source.missing(), ALL);
  assertEquals((await daemon.reaches(id, "ended")).status, "completed");
  await assertPatternImage(`${images}/vm`);
  assertEquals([...Deno.readDirSync(images)].map(({ name }) => name), ["vm"]);
}

Deno.test("daemon that was killed takes up by itself what it had received behind the switch", () =>
  withImages(async (place, images) => {
    const first = await place.start();
    const { id, peer, source } = await begin(place, first, 20);
    using _source = source;
    await first.end("SIGKILL");
    const second = await place.start();
    await completes(second, id, peer, images);
    assertEquals(place.kept, []);
  }));

Deno.test("daemon that is told to end leaves a paused receive to the next one", () =>
  withImages(async (place, images) => {
    const first = await place.start();
    const { id, peer, source } = await begin(place, first, 20);
    source[Symbol.dispose]();
    await first.reaches(id, "postcopy-paused");
    const { code, errors } = await first.end();
    assertEquals(code, 0, errors);
    assertEquals(place.kept, [`${id}.session.json`]);
    const second = await place.start();
    await completes(second, id, peer, images);
    assertEquals(place.kept, []);
  }));

Deno.test("daemon that was killed waits where its receive was told to listen last", () =>
  withImages(async (place, images) => {
    const first = await place.start();
    const { id, source } = await begin(place, first, 20);
    source[Symbol.dispose]();
    await first.reaches(id, "postcopy-paused");
    const path = `/migrations/${id}/recover`;
    const body = { to: "tcp:127.0.0.1:0" };
    const { peer } = await first.client.ask<SessionView>(path, { method: "POST", body });
    await first.end("SIGKILL");
    const second = await place.start();
    await completes(second, id, peer, images);
    assertEquals(place.kept, []);
  }));

/** Has a daemon receive a part, kills it, and starts the next one when its files are elsewhere. */
async function withoutFile(
  test: (left: {
    readonly place: DaemonPlace;
    readonly images: string;
    readonly id: string;
    readonly peer: string;
    readonly partial: string;
    readonly start: () => Promise<DaemonProcess>;
    /** Puts the file of the receive where it was. */
    readonly mount: () => Promise<void>;
  }) => Promise<void>,
): Promise<void> {
  await withImages(async (place, images) => {
    const first = await place.start();
    const { id, peer, source } = await begin(place, first, 20);
    using _source = source;
    await first.end("SIGKILL");
    const partial = left(images);
    const away = `${place.directory}/${partial}`;
    await Deno.rename(`${images}/${partial}`, away);
    await test({
      place,
      images,
      id,
      peer,
      partial,
      start: () => place.start(),
      mount: () => Deno.rename(away, `${images}/${partial}`),
    });
  });
}

Deno.test("daemon waits for the file of a receive that is not there yet, and then goes on with it", () =>
  withoutFile(async ({ place, images, id, peer, start, mount }) => {
    const daemon = await start();
    const { status, code, reason } = await daemon.session(id);
    assertEquals([status, code], ["postcopy-paused", "NO_SUCH_IMAGE"]);
    assertStringIncludes(reason!, "cannot be gone on with yet: No such partial image");
    assertEquals(place.kept, [`${id}.session.json`]);
    await mount();
    await daemon.client.ask(`/migrations/${id}/recover`, { method: "POST" });
    await completes(daemon, id, peer, images);
    assertEquals(place.kept, []);
  }));

Deno.test("receive whose file is not there keeps its image's name, until it is ended by force", () =>
  withoutFile(async ({ place, id, partial, start }) => {
    const daemon = await start();
    const cancel = (body: { force?: true }) =>
      daemon.client.ask<SessionView>(`/migrations/${id}/cancel`, { method: "POST", body });
    const other = () =>
      daemon.client.ask<SessionView>("/migrations", {
        method: "POST",
        body: { direction: "incoming", image: "vm", listen: "tcp:127.0.0.1:0" },
      });
    await assertRejects(other, ApiError, `Session ${id} has this image`);
    const refused = await assertRejects(() => cancel({}), ApiError, `come of it is in ${partial}`);
    assertEquals(refused.code, "GUEST_AT_STAKE");
    const { status, reason } = await cancel({ force: true });
    assertEquals([status, place.kept], ["cancelled", []]);
    assertStringIncludes(reason!, `--recover ${partial}, then migrate -d -r tcp:`);
    assertEquals((await other()).image, "vm");
  }));

Deno.test("daemon that was killed right after an image got its name forgets that receive", () =>
  withoutFile(async ({ place, images, id, partial, start, mount }) => {
    await mount();
    await Deno.rename(`${images}/${partial}`, `${images}/vm`);
    const daemon = await start();
    const { status, reason } = await daemon.session(id);
    assertEquals([status, place.kept], ["completed", []]);
    assertStringIncludes(reason!, "the image has its name");
  }));

Deno.test("daemon does not take an older image, or a newer one, for what it had received", () =>
  withoutFile(async ({ place, images, id, start }) => {
    await Deno.writeTextFile(`${images}/vm`, "older");
    await Deno.utime(`${images}/vm`, 0, 0);
    const daemon = await start();
    assertEquals((await daemon.session(id)).status, "postcopy-paused");
    await Deno.writeTextFile(`${images}/vm`, "newer");
    const recover = () => daemon.client.ask(`/migrations/${id}/recover`, { method: "POST" });
    assertEquals((await assertRejects(recover, ApiError)).code, "NOT_YET");
    assertEquals(place.kept, [`${id}.session.json`]);
  }));

Deno.test("daemon forgets a receive that was ended by force, and says how its file is taken up", () =>
  withImages(async (place, images) => {
    const daemon = await place.start();
    const { id, source } = await begin(place, daemon, 20);
    using _source = source;
    const ended = await daemon.client.ask<SessionView>(`/migrations/${id}/cancel`, {
      method: "POST",
      body: { force: true },
    });
    assertEquals(ended.status, "cancelled");
    assertStringIncludes(
      ended.reason!,
      `postcopy migrate vm --listen tcp:HOST:PORT --recover ${
        left(images)
      }, then migrate -d -r tcp:`,
    );
    assert(!/\breceive --recover/.test(ended.reason!), ended.reason);
    assertEquals(place.kept, []);
    // As it says.
    const again = await daemon.client.ask<SessionView>("/migrations", {
      method: "POST",
      body: {
        direction: "incoming",
        image: "vm",
        listen: "tcp:127.0.0.1:0",
        recover: left(images),
      },
    });
    await completes(daemon, again.id, again.peer, images);
  }));

Deno.test("daemon that is asked for a receive's file says how it is taken up, in its own words", () =>
  withImages(async (place, images) => {
    const daemon = await place.start();
    const { id, source } = await begin(place, daemon, PAGES);
    using _source = source;
    await daemon.client.ask(`/migrations/${id}/cancel`, { method: "POST", body: { force: true } });
    const partial = left(images);
    const words = `postcopy migrate vm --listen tcp:HOST:PORT --recover ${partial}, then`;
    const error = await assertRejects(() => daemon.client.ask(`/images/${partial}`), ApiError);
    assertStringIncludes(error.message, words);
  }));

Deno.test("daemon that leaves a receive to the next one says so in its log", () =>
  withImages(async (place, images) => {
    const daemon = await place.start();
    const { peer, source } = await begin(place, daemon, 20);
    using _source = source;
    const ended = daemon.end();
    source[Symbol.dispose]();
    const { code, errors } = await ended;
    assertEquals(code, 0, errors);
    const how = `start the daemon, which goes on with it by itself, then migrate -d -r ${peer} at`;
    assertStringIncludes(errors, how);
    assert(!errors.includes(`--recover ${left(images)}`), errors);
  }));
