/** Guests of running QEMUs saved by one command, that speaks to their monitors, and restored by another. */
import "../../support/native.ts";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { openImage } from "../../../image/open_image.ts";
import { checkRounds, type GuestMachine, startGuest, waitForRound } from "../../../qemu/guest.ts";
import { queryMigrate, setCapabilities, setParameters } from "../../../qemu/migration.ts";
import type { Qemu } from "../../../qemu/qemu.ts";
import { assertSameMemory, readRamBlocks } from "../../interop/qemu_memory.ts";
import { testedQemus } from "../../interop/qemus.ts";
import { assertImageMemory } from "../../receive/memory_model.ts";
import { until, within } from "../../support/deadline.ts";
import {
  firstOf,
  needsCommand,
  type SkipReason,
  skipReason,
  testUnless,
} from "../../support/skip.ts";
import { run } from "../../command/command_lines.ts";
import { FaultRelay } from "../../support/fault_relay.ts";
import { parseSocketAddress } from "../../../ffi/socket_address.ts";
import type { QemuBinary } from "../../../qemu/qemu_binary.ts";
import { privateSockets, qmpOf, RestoreProcess, SaveProcess, settingsOf } from "./monitored.ts";

/** Rounds that a guest must add once it runs again: it has then seen all of its memory. */
const ROUNDS_AFTER = 3;

/** The user that nobody is, of every Linux. */
const NOBODY = 65_534;

/** A guest that runs, and a place for its image. */
class Running implements AsyncDisposable {
  readonly qemu: Qemu;
  readonly path: string;
  readonly #machine: GuestMachine;
  readonly #stack: AsyncDisposableStack;

  private constructor(
    machine: GuestMachine,
    qemu: Qemu,
    path: string,
    stack: AsyncDisposableStack,
  ) {
    this.#machine = machine;
    this.qemu = qemu;
    this.path = path;
    this.#stack = stack;
  }

  static async start(options: GuestMachine): Promise<Running> {
    const machine = { tick: 64, monitorSocket: true, ...options };
    await using stack = new AsyncDisposableStack();
    const directory = await Deno.makeTempDir({ prefix: "postcopy-save-" });
    stack.defer(() => Deno.remove(directory, { recursive: true }));
    const qemu = stack.use(await startGuest(machine));
    await waitForRound(qemu, 2);
    return new Running(machine, qemu, `${directory}/vm.img`, stack.move());
  }

  /** Saves it. */
  save(...args: string[]): SaveProcess {
    return this.#stack.use(new SaveProcess(this.path, qmpOf(this.qemu), ...args));
  }

  /** A QEMU of the same machine that waits. */
  async waiting(difference: GuestMachine = {}): Promise<Qemu> {
    return this.#stack.use(await startGuest({ ...this.#machine, incoming: true, ...difference }));
  }

  /** Names of all files beside the image, and it. */
  get files(): string[] {
    const directory = this.path.slice(0, this.path.lastIndexOf("/"));
    return [...Deno.readDirSync(directory)].map(({ name }) => name);
  }

  /** Sees that the guest goes on here as if nothing had been. */
  async goesOn(): Promise<void> {
    await until("the guest to run", async () => await this.qemu.runState() === "running");
    await waitForRound(this.qemu, checkRounds(this.qemu.serial.text) + ROUNDS_AFTER);
    checkRounds(this.qemu.serial.text);
  }

  /** Sees that it goes on in another QEMU where it stopped here. */
  async goesOnIn(qemu: Qemu): Promise<void> {
    await this.qemu.close();
    await waitForRound(qemu, checkRounds(this.qemu.serial.text) + ROUNDS_AFTER);
    await qemu.close();
    checkRounds(this.qemu.serial.text + qemu.serial.text);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

for (const { name, binary, skip } of await testedQemus()) {
  const test = (what: string, body: (running: Running) => Promise<void>, machine = {}) =>
    testUnless(skip, `${what}, with ${name}`, async () => {
      await using running = await Running.start({ binary, ...machine });
      await body(running);
    });

  for (
    const [way, args] of [
      ["a private socket", []],
      ["a port", ["--listen", "tcp:127.0.0.1:0"]],
      ["two channels of multifd", ["--multifd", "2"]],
    ] as const
  ) {
    test(`save by ${way} and restore move a guest with every byte`, async (running) => {
      const { qemu, path } = running;
      // What is on at a QEMU that was restored by postcopy, and would have a save wait for ever.
      await setCapabilities(qemu, { "postcopy-ram": true, "postcopy-preempt": true });
      await setParameters(qemu, { "max-bandwidth": 123_456_789 });
      const before = await settingsOf(qemu);
      const { result } = await running.save(...args).result();
      assertEquals(result["status"], "completed");
      assertEquals((result["source"] as Record<string, unknown>)["status"], "completed");
      assertEquals(await qemu.runState(), "postmigrate");
      assertEquals(await settingsOf(qemu), before);
      assertEquals([running.files, privateSockets(qemu)], [["vm.img"], []]);
      const memory = await readRamBlocks(qemu);
      {
        using image = await openImage(path);
        assertImageMemory(image, memory);
      }
      const stopped = await running.waiting({ stopped: true });
      await using compared = new RestoreProcess(path, qmpOf(stopped));
      await compared.restored();
      if (stopped.atLeast(8, 0)) await assertSameMemory(stopped, memory);
      else assertEquals((await readRamBlocks(stopped)).get("pc.ram"), memory.get("pc.ram"));
      const going = await running.waiting();
      await using restore = new RestoreProcess(path, qmpOf(going));
      await restore.restored();
      await running.goesOnIn(going);
    });
  }

  test("save --quit ends QEMU once the image is whole", async (running) => {
    const { qemu, path } = running;
    const { errors } = await running.save("--quit").result();
    await within("QEMU to end", qemu.exited);
    assertEquals(errors.includes("could not"), false, errors);
    const going = await running.waiting();
    await using restore = new RestoreProcess(path, qmpOf(going));
    await restore.restored();
    await running.goesOnIn(going);
  });

  test("save tells people what to do with the disks, and refuses a guest that was saved", async (running) => {
    const { qemu, path } = running;
    const qmp = ["--qmp", qmpOf(qemu)];
    const { code, output, errors } = await run("main.ts", "save", path, ...qmp);
    assertEquals(code, 0, errors);
    assertMatch(output, /^Received pc-q35-\S+ with 64\.5 MiB of memory into /);
    assertMatch(output, /its disks fit the image: copy or snapshot them now, then end QEMU:/);
    assertStringIncludes(output, `Run it again: postcopy restore ${path} --qmp unix:PATH`);
    const again = await run("main.ts", "save", path, ...qmp, "--overwrite");
    assertEquals(again.code, 6);
    assertMatch(again.errors, /postmigrate.*cont lets it go on/);
    await qemu.resume(); // as it says
    await running.goesOn();
  });

  test("save --live takes a guest that runs on until it is taken", async (running) => {
    const { qemu } = running;
    const { result } = await running.save("--live").result();
    assertEquals(result["status"], "completed");
    assertEquals(await qemu.runState(), "postmigrate");
    // Before, QEMU without KVM loses many of the guest's writes, on its own way too.
    if (!qemu.atLeast(10, 0)) return;
    const going = await running.waiting();
    await using restore = new RestoreProcess(running.path, qmpOf(going));
    await restore.restored();
    await running.goesOnIn(going);
  });

  test("save leaves a guest alone whose image is there already", async (running) => {
    await Deno.writeTextFile(running.path, "somebody else's");
    const before = await settingsOf(running.qemu);
    const { errors } = await running.save().result(1);
    assertStringIncludes(errors, "EEXIST");
    assertEquals(await settingsOf(running.qemu), before);
    assertEquals(running.qemu.qmp.events.items.some(({ name }) => name === "STOP"), false);
    assertEquals(await Deno.readTextFile(running.path), "somebody else's");
    await running.goesOn();
  });

  test("save that is interrupted in the middle lets the guest run on", async (running) => {
    const { qemu } = running;
    const before = await settingsOf(qemu);
    const save = running.save("--max-bandwidth", "512K");
    await save.line("some pages", (line) => JSON.parse(line).normal > 25 || undefined);
    assertEquals(await qemu.runState(), "paused");
    save.kill("SIGINT");
    const { errors } = await save.result(130);
    assertStringIncludes(errors, "The guest runs on there");
    assertStringIncludes(errors, "no image was made, and the guest is unharmed at the source");
    assertEquals(await settingsOf(qemu), before);
    assertEquals([running.files, privateSockets(qemu)], [[], []]);
    await running.goesOn();
  });

  test("save leaves a guest stopped that was stopped before", async (running) => {
    const { qemu } = running;
    await qemu.stop();
    const save = running.save("--max-bandwidth", "512K");
    await save.line("some pages", (line) => JSON.parse(line).normal > 25 || undefined);
    save.kill("SIGTERM");
    await save.result(130);
    assertEquals(await qemu.runState(), "paused");
    await running.save().result();
    assertEquals(await qemu.runState(), "postmigrate");
  });

  test("save says why QEMU did not come, and lets the guest run on", async (running) => {
    const before = await settingsOf(running.qemu);
    const nowhere = ["--listen", "tcp:127.0.0.1:0", "--migrate-uri", "tcp:127.0.0.1:1"];
    const { errors } = await running.save(...nowhere).result(6);
    assertMatch(errors, /QEMU did not send its guest: .*[Cc]onnect/);
    assertStringIncludes(errors, "The guest runs on there");
    assertEquals(await settingsOf(running.qemu), before);
    assertEquals(running.files, []);
    await running.goesOn();
  });

  test("save ends when QEMU dies, and leaves no image", async (running) => {
    const save = running.save("--max-bandwidth", "512K");
    await save.line("some pages", (line) => JSON.parse(line).normal > 25 || undefined);
    await running.qemu.close();
    const { errors } = await save.result(1);
    assertMatch(errors, /QEMU could not be left as it was: QEMU's monitor cannot be reached/);
    assertEquals(running.files, []);
  });

  test("save goes on when its monitor breaks, and puts back what it set", async (running) => {
    const { qemu } = running;
    const before = await settingsOf(qemu);
    await using monitor = await FaultRelay.start(parseSocketAddress(qmpOf(qemu)));
    const args = ["--listen", "tcp:127.0.0.1:0", "--max-bandwidth", "3M"];
    await using save = new SaveProcess(running.path, monitor.uri, ...args);
    await save.line("some pages", (line) => JSON.parse(line).normal > 25 || undefined);
    monitor.cut();
    const { result } = await save.result();
    assertEquals((result["source"] as Record<string, unknown>)["status"], "completed");
    assertEquals(monitor.connections.length, 2);
    assertEquals(await settingsOf(qemu), before);
  });

  test("save says how the guest goes on when its monitor is gone for good", async (running) => {
    const { qemu } = running;
    await using stack = new AsyncDisposableStack();
    const monitor = stack.use(await FaultRelay.start(parseSocketAddress(qmpOf(qemu))));
    const args = ["--listen", "tcp:127.0.0.1:0", "--max-bandwidth", "512K"];
    await using save = new SaveProcess(running.path, monitor.uri, ...args);
    await save.line("some pages", (line) => JSON.parse(line).normal > 25 || undefined);
    await stack.disposeAsync();
    save.kill("SIGINT");
    const { errors } = await save.result(130);
    assertStringIncludes(errors, 'If query-status there does not say running: {"execute": "cont"}');
    assertMatch(errors, /Put back at QEMU by hand .*: \{"execute":"migrate-set-parameters"/);
    assertEquals(running.files, []);
  });

  test("save refuses a QEMU that waits for a guest", async (running) => {
    const qemu = await running.waiting();
    const before = [await settingsOf(qemu), await queryMigrate(qemu)];
    await using save = new SaveProcess(running.path, qmpOf(qemu));
    const { errors } = await save.result(6);
    assertMatch(errors, /has no guest to save, query-status says inmigrate/);
    assertEquals([await settingsOf(qemu), await queryMigrate(qemu)], before);
    assertEquals(running.files, []);
  });

  testUnless(
    firstOf(skip, needsCommand("setpriv", "util-linux"), unchanged(binary)),
    `save shares a private socket with a QEMU of another user, with ${name}`,
    async () => {
      const directory = await Deno.makeTempDir({ prefix: "postcopy-nobody-" });
      await using stack = new AsyncDisposableStack();
      stack.defer(() => Deno.remove(directory, { recursive: true }));
      await Deno.chown(directory, NOBODY, NOBODY);
      await Deno.mkdir(`${directory}/images`, { mode: 0o700 });
      const [command, ...words] = binary.command;
      const who = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--pdeathsig=KILL"];
      const bare = ["-nodefaults", "-display", "none", "-accel", "tcg", "-m", "64"];
      const qmp = ["-qmp", `unix:${directory}/qmp,server=on,wait=off`];
      const child = new Deno.Command("setpriv", {
        args: [...who, command!, ...words, ...bare, ...qmp],
        stdin: "null",
      }).spawn();
      stack.defer(async () => {
        child.kill("SIGKILL");
        await child.status;
      });
      const socket = `${directory}/qmp`;
      await until("its monitor", () => Deno.stat(socket).then(() => true, () => false));
      await using save = new SaveProcess(`${directory}/images/vm.img`, `unix:${socket}`);
      await save.result();
      assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name).sort(), [
        "images",
        "qmp",
      ]);
    },
  );
}

/** Of a QEMU in a root directory of its own, other users have no place. */
function unchanged({ root }: QemuBinary): SkipReason | undefined {
  if (root === "/") return undefined;
  return skipReason(
    "no support",
    `Needs a QEMU that sees the same files, this one's root is: ${root}`,
  );
}
