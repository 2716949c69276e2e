/** `receive` as a user runs it, with a scripted source. */
import "../support/native.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { runHere } from "../command/command_lines.ts";
import { Listener } from "../../ffi/listener.ts";
import { formatSocketAddress, parseSocketAddress } from "../../ffi/socket_address.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { withDirectory } from "../image/captures.ts";
import { until, within } from "../support/deadline.ts";
import { limitFiles } from "../support/file_limit.ts";
import { LOOPBACK } from "../support/migrate.ts";
import type { ProcessEnd } from "../support/processes.ts";
import { needsCommand, testUnless } from "../support/skip.ts";
import { ALL, PAGES } from "./received.ts";
import { ReceiveProcess } from "./receive_process.ts";
import { ResumingSource } from "./resuming_source.ts";

/** It, with an image. */
class ImageProcess extends ReceiveProcess {
  readonly image: string;

  constructor(image: string) {
    super(["--image", image]);
    this.image = image;
  }

  /** Connects a source. */
  async source(): Promise<HostileSource> {
    const source = new HostileSource(await this.address(), { ram: PAGES });
    await source.connect();
    return source;
  }

  /** Waits for the end. */
  async end(): Promise<ProcessEnd> {
    return await within("receive to end", this.ended);
  }
}

/** Runs a test with the command and a source that has connected to it. */
function commandTest(
  name: string,
  test: (command: ImageProcess, source: HostileSource) => Promise<void>,
): void {
  testUnless(needsCommand("prlimit", "util-linux"), name, () =>
    withDirectory(async (directory) => {
      await using command = new ImageProcess(`${directory}/image`);
      using source = await command.source();
      await test(command, source);
    }));
}

commandTest("receive tells what it received, and where", async (command, source) => {
  await source.switchOver();
  await source.sendLast(ALL);
  const result = await command.event("result");
  assertEquals([result.status, result.received, result.image, result.machine], [
    "completed",
    PAGES,
    command.image,
    "postcopy-workload",
  ]);
  assertEquals((await command.end()).code, 0);
});

commandTest("receive says that the guest is unharmed when interrupted", async (command, source) => {
  source.encodeAdvise();
  source.encodeBlocks();
  await source.sendPages(ALL);
  await command.event("progress", ({ received }) => received === PAGES);
  command.kill("SIGINT");
  const { code, errors } = await command.end();
  assertEquals(code, 130);
  assertStringIncludes(errors, "Interrupted: no image was made, and the guest is unharmed at the");
  const { "error-desc": reason } = await command.event("result");
  assertStringIncludes(reason!, "Interrupted: ");
});

commandTest("receive ends after the switch only when told twice", async (command, source) => {
  await source.switchOver();
  await source.sendPages(ALL.slice(3));
  await command.event("progress", ({ remaining }) => remaining === 3);
  command.kill("SIGINT");
  await source.sendPages([2]);
  await command.event("progress", ({ remaining }) => remaining === 2);
  command.kill("SIGINT");
  const { code, errors } = await command.end();
  assertEquals(code, 130);
  assertStringIncludes(errors, "postcopy: The source has switched to postcopy and cannot let");
  assertStringIncludes(errors, "2 of 64 pages are missing");
});

commandTest(
  "receive gives up while the source can go on, when it cannot write",
  async (command, source) => {
    source.encodeAdvise();
    source.encodeBlocks();
    await source.flush();
    await command.event("progress", ({ pages }) => pages === PAGES);
    limitFiles((1 << 20) + 40_960, command.pid);
    await source.sendPages(ALL);
    await source.hear(({ shuts }) => shuts.length > 0);
    assertEquals(source.heard.shuts, [1]);
    source[Symbol.dispose]();
    const { code, errors } = await command.end();
    assertEquals(code, 1);
    assertStringIncludes(errors, "pwritev failed with EFBIG: ");
    assertStringIncludes(
      errors,
      "raise the limit with ulimit -f: no image was made, and the guest",
    );
  },
);

commandTest(
  "receive waits after the switch until it can write again, and loses nothing",
  async (command, source) => {
    await source.switchOver();
    await source.hear(({ pongs }) => pongs.includes(4));
    limitFiles((1 << 20) + 40_960, command.pid);
    await source.sendLast(ALL);
    const { reason } = await command.event("waiting");
    assertStringIncludes(reason, "pwritev failed with EFBIG: ");
    limitFiles("unlimited", command.pid);
    const { status, received } = await command.event("result");
    assertEquals([status, received, (await command.end()).code], ["completed", PAGES, 0]);
  },
);

commandTest("receive tells a paused migration's way on, and takes it", async (command, source) => {
  await source.switchOver();
  await source.sendPages(ALL.slice(3));
  await command.event("progress", ({ remaining }) => remaining === 3);
  const { address } = await command.event("listening");
  source[Symbol.dispose]();
  const { reason, resume, remaining, complete } = await command.event("paused");
  assertStringIncludes(reason, "Source went away: main channel: ");
  assertEquals([resume, remaining, complete], [`migrate -d -r ${address}`, 3, false]);
  using again = new ResumingSource(parseSocketAddress(address));
  await again.connect();
  assertEquals([await again.ask(), await again.resume()], [true, true]);
  await again.sendLast(again.missing());
  const { status, received } = await command.event("result");
  assertEquals([status, received, (await command.end()).code], ["completed", PAGES, 0]);
});

commandTest("receive that is paused ends when it is told twice", async (command, source) => {
  await source.switchOver();
  await source.sendPages(ALL.slice(3));
  await command.event("progress", ({ remaining }) => remaining === 3);
  source[Symbol.dispose]();
  await command.event("paused");
  command.kill("SIGINT");
  const told = command.lines.length;
  await until("it to go on", () => command.over || command.lines.length > told + 2);
  command.kill("SIGINT");
  const { code, errors } = await command.end();
  assertEquals(code, 130);
  assertStringIncludes(errors, "if you interrupt once more, for 3 of 64 pages are still to come");
  assertStringIncludes(errors, "it keeps it stopped, with all of its memory, until it is ended");
});

for (const signal of ["SIGTERM", "SIGHUP"] as const) {
  commandTest(
    `receive finishes after the switch when it gets ${signal}`,
    async (command, source) => {
      await source.switchOver();
      await source.sendPages(ALL.slice(3));
      await command.event("progress", ({ remaining }) => remaining === 3);
      command.kill(signal);
      command.kill(signal);
      await source.sendPages([2]);
      await command.event("progress", ({ remaining }) => remaining === 2);
      await source.sendLast([0, 1]);
      const { code, errors } = await command.end();
      assertEquals((await command.event("result")).status, "completed");
      assertEquals(code, 0);
      assertStringIncludes(
        errors,
        `${signal}: goes on, for the guest would be lost: postcopy-active`,
      );
    },
  );

  commandTest(`receive ends before the switch when it gets ${signal}`, async (command, source) => {
    source.encodeAdvise();
    source.encodeBlocks();
    await source.flush();
    await command.event("progress", ({ pages }) => pages === PAGES);
    command.kill(signal);
    const { code, errors } = await command.end();
    assertEquals(code, 130);
    assertStringIncludes(
      errors,
      "Interrupted: no image was made, and the guest is unharmed at the",
    );
    assertEquals((await command.event("result")).status, "failed");
  });
}

const MISTAKES: readonly [string, readonly string[], number, string][] = [
  ["without an image", ["--listen", "tcp:127.0.0.1:0"], 2, "No image given: say what to write"],
  ["without an address", ["--image", "/tmp/no-image"], 2, "No address given: say where to listen"],
  [
    "with an image that is there",
    ["--listen", "tcp:127.0.0.1:0", "--image", "/etc/hostname"],
    1,
    "EEXIST",
  ],
];
for (const [what, args, exitCode, message] of MISTAKES) {
  Deno.test(`receive ${what} says what is wrong`, async () => {
    const { code, errors } = await runHere("client/main.ts", "receive", ...args);
    assertStringIncludes(errors, message);
    assertEquals(code, exitCode);
  });
}

Deno.test("receive leaves no file behind when its address is taken", () =>
  withDirectory(async (directory) => {
    using taken = await Listener.listen(LOOPBACK);
    const args = ["--listen", formatSocketAddress(taken.address), "--image", `${directory}/image`];
    const { code, errors } = await runHere("client/main.ts", "receive", ...args);
    assertStringIncludes(errors, "EADDRINUSE");
    assertEquals([code, [...Deno.readDirSync(directory)].length], [4, 0]);
  }));
