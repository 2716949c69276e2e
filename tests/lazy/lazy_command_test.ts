import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { runHere } from "../command/command_lines.ts";
import { until, within } from "../support/deadline.ts";
import { testUnless } from "../support/skip.ts";
import { LazyProcess } from "./lazy_process.ts";
import { MemoryFile, needsVmm, Vmm } from "./vmm.ts";

const PAGE = 4096;
const regions = [{ length: 64 * PAGE, offset: 0 }];

testUnless(
  needsVmm,
  "lazy SOCKET FILE serves as handlers of Firecracker are started",
  async () => {
    using file = new MemoryFile(64 * PAGE);
    await using lazy = new LazyProcess([file.socket, file.path]);
    assert(await lazy.says(`Listening on ${file.socket}`));
    await using vmm = await Vmm.start(file.socket, { regions });
    await vmm.check();
    assert(await lazy.says(`Process ${vmm.pid} of user 0: 256 KiB handed over, 1 region`));
    await vmm.kill();
    assert(await lazy.says(`Process ${vmm.pid} is gone`));
    lazy.kill("SIGTERM");
    const { code, left } = await within("its end", lazy.ended);
    assertEquals([code, left], [0, []]);
    assertEquals([...Deno.readDirSync(file.directory)].map(({ name }) => name), ["memory"]);
  },
);

testUnless(
  needsVmm,
  "lazy that gets SIGTERM serves on until no VM needs it",
  async () => {
    using file = new MemoryFile(64 * PAGE);
    const args = ["--firecracker", file.socket, "--image", file.path, "--no-fill"];
    await using lazy = await LazyProcess.listening(...args);
    await using vmm = await Vmm.start(file.socket, { regions });
    await lazy.event("handed-over");
    lazy.kill("SIGTERM");
    assert(await lazy.says("SIGTERM: ends when no VM needs it any more"));
    assertEquals(await vmm.touch(PAGE), "image");
    await vmm.kill();
    const { code } = await within("its end", lazy.ended);
    assertEquals(code, 0);
    const ended = await lazy.event("ended");
    assert(ended?.event === "ended" && ended.urgent === 1 && ended.background === 0);
  },
);

testUnless(
  needsVmm,
  "lazy warns at the first Ctrl-C, and leaves a VM that waits, and gets no zeros, at the second",
  async () => {
    using file = new MemoryFile(64 * PAGE);
    const args = ["--firecracker", file.socket, "--image", file.path, "--no-fill"];
    await using lazy = await LazyProcess.listening(...args);
    await using vmm = await Vmm.start(file.socket, { regions });
    await lazy.event("handed-over");
    lazy.kill("SIGINT");
    assert(await lazy.says("Needed by 1 VM"));
    assertEquals(await vmm.touch(PAGE), "image");
    lazy.kill("SIGINT");
    const { code } = await within("its end", lazy.ended);
    assertEquals(code, 130);
    await vmm.order(`touch ${2 * PAGE}`);
    await until("the touch to wait", () => vmm.waiting === 1);
    assert(!vmm.hasSaid("touched"));
  },
);

Deno.test("lazy says what is missing, or cannot be", async () => {
  using file = new MemoryFile(64 * PAGE);
  const cases: [string[], number, string][] = [
    [["--image", file.path], 2, "No socket given"],
    [["--firecracker", file.socket], 2, "No image given"],
    [[file.socket, file.path, "more"], 2, "Unexpected argument: more"],
    [[file.socket, "--image", file.path], 2, `Unexpected argument: ${file.socket}`],
    [[file.socket, file.path, "--on-loss", "zeros"], 2, "Unknown --on-loss: zeros"],
    [[file.socket, `${file.path}.gone`], 1, "No such"],
    [[`${file.directory}/no/socket`, file.path], 4, "bind"],
  ];
  for (const [args, code, text] of cases) {
    const end = await runHere("client/main.ts", "lazy", ...args);
    assertEquals(end.code, code, end.errors);
    assert(end.errors.includes(text), end.errors);
  }
});
