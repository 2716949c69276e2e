import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Mode } from "../../server/sending/mode.ts";
import { HostileDestination, type Point } from "../hostile/scripted_destination.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { formatSocketAddress, parseSocketAddress } from "../../ffi/socket_address.ts";
import { within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { assertEachPageOnce } from "../support/migrate.ts";
import { ServeProcess, WorkloadProcess } from "../support/processes.ts";

const BLOCKS = { ram: 3000, "vga.vram": 77 };

async function migrated(listen: string, mode: Mode, args: readonly string[]): Promise<void> {
  using image = await TestImage.make(BLOCKS);
  await using destination = new WorkloadProcess(listen, args);
  await using source = new ServeProcess(image.path, await destination.address(), ["--mode", mode]);
  const sent = await source.statistics();
  const { code, errors } = await within("the workload to end", destination.ended);
  assertEquals({ code, errors }, { code: 0, errors: "" });
  const result = destination.last("result");
  assert(result !== undefined);
  assertEachPageOnce({ source: sent, destination: result.destination });
  assertEquals(result.check, { pages: image.pages, wrongPages: 0 });
  assertEquals(result.workload.failures, []);
  image.assertUntouched();
}

Deno.test("serve moves a workload of random writers in mode preempt-full over IPv4", () =>
  migrated("tcp:127.0.0.1:0", "preempt-full", ["--write", "--until-touched"]));

Deno.test("serve moves a workload that touches each page once in mode preempt over IPv6", () =>
  migrated("tcp:[::1]:0", "preempt", ["--pattern", "once"]));

Deno.test("serve moves a workload of readers in mode vanilla over a unix socket", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/migration`;
    await migrated(`unix:${path}`, "vanilla", ["--backing", "memfd", "--until-touched"]);
    assertEquals([...Deno.readDirSync(directory)], [], "The socket's file was left");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

/** Serves to a destination that leaves at a point; returns how `serve` ended. */
async function serveTo(
  point: Point | undefined,
  marks = 0,
): Promise<{ code: number; errors: string }> {
  using image = await TestImage.make({ ram: 4096 });
  using destination = await HostileDestination.listen();
  const to = formatSocketAddress(destination.address);
  if (point === undefined) destination[Symbol.dispose]();
  await using source = new ServeProcess(image.path, to, ["--recover-timeout", "0"]);
  if (point !== undefined) {
    await within(point, destination.play(point));
    destination[Symbol.dispose]();
  }
  const { code, errors } = await within("serve to end", source.ended);
  image.assertUntouched(marks);
  return { code, errors };
}

Deno.test("serve exits with 4 when nobody listens", async () => {
  const { code, errors } = await serveTo(undefined);
  assertEquals(code, 4);
  assertMatch(
    errors,
    /^postcopy: connect failed with ECONNREFUSED: to tcp:127\.0\.0\.1:\d+: see /m,
  );
});

for (const point of ["blocks", "pages", "end"] as const) {
  Deno.test(`serve exits with 1 when the destination vanishes at: ${point}`, async () => {
    // Once there are pages the guest may run there.
    const { code, errors } = await serveTo(point, point === "blocks" ? 0 : 1);
    assertEquals(code, 1);
    assertMatch(errors, /^postcopy: Destination (?:went away|does not take)/m);
    assert(!errors.includes("Uncaught"), errors);
  });
}

Deno.test("serve exits with 130 when it is interrupted before the guest runs", async () => {
  using image = await TestImage.make({ ram: 4096 });
  using destination = await HostileDestination.listen({ pongs: false });
  await using source = new ServeProcess(image.path, formatSocketAddress(destination.address));
  await within("the connection", destination.play("connected"));
  source.kill("SIGTERM");
  const late = source.says("going on");
  if (await late) return; // it waits for a PONG for a second alone, and this machine is slow
  const { code, errors } = await source.ended;
  assertEquals(code, 130);
  assertMatch(errors, /^postcopy: Interrupted: the image is as it was$/m);
  image.assertUntouched();
});

Deno.test("serve goes on at SIGTERM, SIGHUP and the first Ctrl-C once the guest runs", async () => {
  using image = await TestImage.make({ ram: 4096 });
  using destination = await HostileDestination.listen({ receiveBuffer: 4096 });
  await using source = new ServeProcess(image.path, formatSocketAddress(destination.address));
  await within("pages", destination.play("pages"));
  for (const signal of ["SIGTERM", "SIGHUP", "SIGINT"] as const) {
    source.kill(signal);
    assert(await source.says(signal === "SIGINT" ? "Ctrl-C once more" : `(${signal})`));
  }
  source.kill("SIGINT");
  const { code, output, errors } = await within("serve to end", source.ended);
  assertEquals(code, 130);
  // What became of the guest is the news, and what is safe to do.
  assertMatch(
    errors,
    /^postcopy: Interrupted: the guest ran at the destination already and lacks /m,
  );
  assertMatch(errors, /serve the same image with --recover/);
  assertEquals(JSON.parse(output).status, "cancelled");
  image.assertUntouched(1);
});

Deno.test("serve --recover says so when nobody listens in time", async () => {
  using image = await TestImage.make({ ram: 64 });
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const to = `tcp:127.0.0.1:${listener.addr.port}`;
  listener.close();
  const args = ["--recover", "--recover-timeout", "0"];
  await using source = new ServeProcess(image.path, to, args);
  const { code, errors } = await within("serve to end", source.ended);
  assertEquals(code, 1);
  assertMatch(errors, /^postcopy: Destination could not be connected to in time: /m);
});

Deno.test("serve --recover that has found nobody is ended by one signal", async () => {
  using image = await TestImage.make({ ram: 64 });
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const to = `tcp:127.0.0.1:${listener.addr.port}`;
  listener.close();
  await using source = new ServeProcess(image.path, to, ["--recover"]);
  assert(await source.says("Trying to connect"));
  source.kill("SIGTERM");
  const { code, errors } = await within("serve to end", source.ended);
  assertEquals(code, 130);
  assertMatch(errors, /^postcopy: Interrupted: the image is as it was$/m);
});

Deno.test("workload exits with 1 when the source vanishes before the guest runs", async () => {
  await using destination = new WorkloadProcess("tcp:127.0.0.1:0");
  using source = new HostileSource(parseSocketAddress(await destination.address()));
  await source.connect();
  source.encodeAdvise();
  await source.flush();
  await source.hear(({ pongs }) => pongs.length > 0);
  source[Symbol.dispose]();
  const { code, errors } = await within("the workload to end", destination.ended);
  assertEquals(code, 1);
  assertMatch(errors, /^postcopy: Source went away: main channel: it closed the connection$/m);
});

Deno.test("workload stays when the source vanishes while it runs, and ends when it is told to", async () => {
  await using destination = new WorkloadProcess("tcp:127.0.0.1:0");
  using source = new HostileSource(parseSocketAddress(await destination.address()));
  await source.connect();
  await source.switchOver();
  await source.hear(({ requests }) => requests.length > 1);
  source[Symbol.dispose]();
  const paused = await destination.event("the pause", ({ event }) => event === "paused");
  assertEquals(paused?.event === "paused" && paused.reason.slice(0, 17), "Source went away:");
  const held = await destination.event(
    "a report of the paused state",
    (event) => event.event === "progress" && event.destination.status === "postcopy-paused",
  );
  assert(held?.event === "progress");
  assertEquals(held.workload.failures, []);
  assertEquals(held.workload.touched, 0);
  destination.kill("SIGTERM");
  const { code, errors } = await within("the workload to end", destination.ended);
  assertEquals(code, 130, errors);
});
