/** `lazy --criu --held-by`: servers that are killed under load, and those that come behind them. */

import "../../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { programOf } from "../../support/c_program.ts";
import { until, within } from "../../support/deadline.ts";
import { freePort } from "../../support/free_port.ts";
import { testUnless } from "../../support/skip.ts";
import type { LazyCommandEvent } from "../../../client/command/lazy_report.ts";
import { LazyProcess } from "../lazy_process.ts";
import { LineProcess } from "../line_process.ts";
import { needsVmm } from "../vmm.ts";
import { CriuTask, needsCriu } from "./criu_task.ts";
import { wordOf, writeImages } from "./hand_moved.ts";

/** Servers of one dump behind each other, and their holder. */
class Servers implements AsyncDisposable {
  readonly #args: readonly string[];
  readonly #holder: LazyProcess;
  readonly #all: LazyProcess[] = [];

  private constructor(holder: LazyProcess, args: readonly string[]) {
    this.#holder = holder;
    this.#args = args;
  }

  static async start(images: string, ...more: string[]): Promise<Servers> {
    const path = `${images}/holder`;
    const holder = new LazyProcess(["--holder", path, "--json"]);
    await holder.event("listening");
    const servers = new Servers(holder, ["--criu", images, "--held-by", path, "--json", ...more]);
    await servers.next();
    return servers;
  }

  /** The one that serves. */
  get now(): LazyProcess {
    return this.#all.at(-1)!;
  }

  /** What they said, for the message of a test that fails: a line each. */
  get said(): string {
    return this.#all.map(({ lines }) => lines.filter((line) => !line.includes("progress")))
      .flat().join("\n");
  }

  /** Kills the one that serves, unless it has done so to the end, and starts the next. */
  async replace(...more: string[]): Promise<void> {
    this.now.kill("SIGKILL");
    if ((await this.now.ended).code !== 0) await this.next(...more);
  }

  /** Starts the next, which fills nothing if nothing else is said. */
  async next(...more: string[]): Promise<void> {
    const next = new LazyProcess([...this.#args, ...more.length > 0 ? more : ["--no-fill"]]);
    this.#all.push(next);
    if (await next.event("listening") === undefined) throw new Error((await next.ended).errors);
  }

  /** The server's end, and that of the holder, which holds nothing then. */
  async end(): Promise<number> {
    const { code } = await within("the server's end", this.now.ended);
    this.#holder.kill("SIGTERM");
    assertEquals((await within("the holder's end", this.#holder.ended)).code, 0);
    return code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const each of [this.now, this.#holder]) {
      each.kill("SIGKILL");
      await each.ended;
    }
  }
}

/** Has a task dumped whose pages stay there, and says how a server is told of its page server. */
async function dumpLazily(task: CriuTask) {
  const port = freePort();
  const dumping = await task.dumpLazily(port);
  return { dumping, pageServer: ["--criu-page-server", `tcp:127.0.0.1:${port}`] };
}

testUnless(
  needsVmm,
  "lazy --criu --held-by that is killed again and again is replaced, whatever the process does meanwhile",
  async () => {
    const images = Deno.makeTempDirSync({ prefix: "postcopy-criu-held-" });
    const program = await programOf(import.meta.resolve("./mover.c"));
    await using mover = new LineProcess(program, [`${images}/lazy-pages.socket`, "64"]);
    try {
      const [pid, address] = (await mover.says("made")).split(" ").slice(1).map(Number);
      writeImages(images, pid!, address!, 64);
      await using servers = await Servers.start(images);
      await mover.order("go");
      await mover.says("ready");
      const does = async (deed: string, says: string) => {
        await mover.order(deed);
        return await mover.says(says);
      };
      await does("move 0 16 100", "moved");
      await does("remove 101 1", "removed");
      await servers.replace();
      assertEquals(await does("touch 102", "touched"), `touched 102 ${wordOf(2)}`);
      assertEquals(await does("touch 101", "touched"), "touched 101 0");
      assertEquals(await does("fork 103", "child"), `child ${wordOf(3)}`);
      // All of it while nobody serves.
      servers.now.kill("SIGKILL");
      await servers.now.ended;
      for (const deed of ["touch 104", "fork 105", "move 20 4 120", "remove 106 1"]) {
        await mover.order(deed);
      }
      await servers.next();
      assertEquals(await mover.says("touched"), `touched 104 ${wordOf(4)}`);
      assertEquals(await mover.says("child"), `child ${wordOf(5)}`);
      await mover.says("moved");
      await mover.says("removed");
      assertEquals(await does("touch 106", "touched"), "touched 106 0");
      assertEquals(await does("touch 121", "touched"), `touched 121 ${wordOf(21)}`);
      await does("finish", "finished");
      await servers.now.event("restored");
      await servers.replace();
      assertEquals(await does("touch 63", "touched"), `touched 63 ${wordOf(63)}`);
      await mover.kill();
      assertEquals(await servers.end(), 0);
    } finally {
      Deno.removeSync(images, { recursive: true });
    }
  },
);

testUnless(
  needsVmm,
  "lazy --criu --held-by is replaced by one that was started before it ended, and that fills the rest",
  async () => {
    const images = Deno.makeTempDirSync({ prefix: "postcopy-criu-held-" });
    const program = await programOf(import.meta.resolve("./mover.c"));
    await using mover = new LineProcess(program, [`${images}/lazy-pages.socket`, "64"]);
    try {
      const [pid, address] = (await mover.says("made")).split(" ").slice(1).map(Number);
      writeImages(images, pid!, address!, 64);
      await using servers = await Servers.start(images);
      await mover.order("go");
      await mover.says("ready");
      await mover.order("touch 1");
      assertEquals(await mover.says("touched"), `touched 1 ${wordOf(1)}`);
      await mover.order("finish");
      await servers.now.event("restored");
      const holder = ["--held-by", `${images}/holder`];
      await using next = new LazyProcess(["--criu", images, ...holder, "--json"]);
      servers.now.kill("SIGTERM"); // nothing is marked: it is held
      assertEquals((await within("its end", servers.now.ended)).code, 0);
      await next.event("filled");
      assertEquals((await within("the next one's end", next.ended)).code, 0);
      assertEquals(await servers.end(), 0);
      // Nobody has its userfaultfd any more.
      for (let page = 0; page < 64; page++) {
        await mover.order(`touch ${page}`);
        assertEquals(await mover.says("touched"), `touched ${page} ${wordOf(page)}`);
      }
    } finally {
      Deno.removeSync(images, { recursive: true });
    }
  },
);

for (const mode of ["memory", "tree", "churn"] as const) {
  testUnless(
    needsCriu,
    `lazy --criu --held-by that is killed with -9 under load serves every byte of what a real CRIU restores: ${mode}`,
    async () => {
      await using task = await CriuTask.start(mode);
      await task.dump();
      await using servers = await Servers.start(task.images);
      // Before CRIU has said that all are restored, in whatever it says or waits for.
      const restoring = await task.restore();
      await servers.replace();
      await servers.now.event("restored");
      if (mode === "churn") {
        for (let times = 0; times < 3; times++) {
          await servers.now.event("progress");
          await servers.replace();
        }
      }
      task.go();
      if (mode === "tree") await servers.now.event("forked");
      await servers.replace();
      await servers.replace();
      const result = await task.result();
      const [, wrong] = /^wrong=(\d+) more=\d+$/.exec(result) ?? [result];
      // A kill between the read of a fork's message and the next system call takes the child's userfaultfd.
      const missed = () => servers.now.lines.filter((line) => line.includes('"missed"')).length;
      const text = `${result} ${task.why()} ${servers.said}`;
      await until(`all of it is told: ${text}`, () => Number(wrong) <= missed());
      await within("the process's end", restoring.ended);
      assertEquals(await servers.end(), 0);
    },
  );
}

testUnless(
  needsCriu,
  "lazy --criu --held-by that is killed before it has taken CRIU's connection leaves it to the next",
  async () => {
    await using task = await CriuTask.start("tree");
    await task.dump();
    await using servers = await Servers.start(task.images);
    servers.now.kill("SIGSTOP");
    task.go();
    const restoring = await task.restore();
    await servers.replace();
    assertEquals(await task.result(), "wrong=0 more=6");
    await within("the process's end", restoring.ended);
    assertEquals(await servers.end(), 0);
  },
);

for (const fill of [true, false]) {
  testUnless(
    needsCriu,
    `lazy --criu --held-by that is killed goes on with the page server of a real CRIU, fill ${fill}`,
    async () => {
      await using task = await CriuTask.start("memory");
      const { dumping, pageServer } = await dumpLazily(task);
      await using servers = await Servers.start(task.images, ...pageServer);
      const restoring = await task.restore();
      await servers.now.event("restored");
      if (!fill) task.go();
      await servers.replace();
      await servers.replace(...fill ? ["--on-loss", "hold"] : []);
      task.go();
      assertEquals(await task.result(), "wrong=0 more=0");
      await within("the process's end", restoring.ended);
      assertEquals(await servers.end(), 0);
      await within("the dump's end", dumping.ended);
    },
  );
}

testUnless(
  needsCriu,
  "lazy --criu --held-by passes over what the server before had asked a page server for",
  async () => {
    await using task = await CriuTask.start("memory");
    const { dumping, pageServer } = await dumpLazily(task);
    await using servers = await Servers.start(task.images, ...pageServer);
    const restoring = await task.restore();
    await servers.now.event("restored");
    // What is asked for from here on is answered when the server that asked is dead.
    Deno.kill(dumping.pid, "SIGSTOP");
    task.go();
    const hasWaiting = (line: string) => {
      const event = JSON.parse(line) as LazyCommandEvent;
      return event.event === "progress" && event.processes[0]!.waiting > 0 ? true : undefined;
    };
    assert(await servers.now.line("faults that wait", hasWaiting));
    await servers.replace("--on-loss", "hold");
    Deno.kill(dumping.pid, "SIGCONT");
    assertEquals(await task.result(), "wrong=0 more=0");
    await within("the process's end", restoring.ended);
    assertEquals(await servers.end(), 0);
    await within("the dump's end", dumping.ended);
  },
);

testUnless(
  needsCriu,
  "lazy --criu --held-by whose page server is gone gives no zeros, the next one as little",
  async () => {
    await using task = await CriuTask.start("memory");
    const { dumping, pageServer } = await dumpLazily(task);
    await using servers = await Servers.start(task.images, ...pageServer);
    const restoring = await task.restore();
    await servers.now.event("restored");
    servers.now.kill("SIGKILL");
    await servers.now.ended;
    dumping.kill();
    await dumping.ended.catch(() => {});
    await servers.next();
    task.go();
    const lost = await servers.now.event("lost");
    assert(lost?.event === "lost" && lost.reason.includes("is lost, and with it the pages"));
    assert(!task.has("result"));
    restoring.kill();
  },
);

testUnless(
  needsVmm,
  "lazy --criu --held-by systemd that is killed is started again and goes on",
  async () => {
    const images = Deno.makeTempDirSync({ prefix: "postcopy-criu-held-" });
    await using mover = new LineProcess(await programOf(import.meta.resolve("./mover.c")), [
      `${images}/lazy-pages.socket`,
      "64",
    ]);
    try {
      const [pid, address] = (await mover.says("made")).split(" ").slice(1).map(Number);
      writeImages(images, pid!, address!, 64);
      const script = new URL("../../../client/main.ts", import.meta.url).pathname;
      await using service = new LineProcess(await programOf(import.meta.resolve("../manager.c")), [
        ...[
          `${images}/notify`,
          "20",
          Deno.execPath(),
          "run",
          "-A",
          "--no-lock",
          "--cached-only",
          script,
        ],
        ...["lazy", "--criu", images, "--held-by", "systemd", "--no-fill", "--json"],
      ]);
      const serverPid = async () => Number((await service.says("started")).split(" ")[1]);
      let server = await serverPid();
      await service.says("ready");
      await mover.order("go");
      await mover.says("ready");
      await mover.order("move 0 16 100");
      await mover.says("moved");
      for (let page = 100; page < 104; page++) {
        Deno.kill(server, "SIGKILL");
        await service.says("ended");
        await mover.order(`fork ${page}`);
        server = await serverPid();
        assertEquals(await mover.says("child"), `child ${wordOf(page - 100)}`);
        await mover.order(`touch ${page}`);
        assertEquals(await mover.says("touched"), `touched ${page} ${wordOf(page - 100)}`);
      }
      assert(!service.hasSaid('{"event":"missed"'));
    } finally {
      Deno.removeSync(images, { recursive: true });
    }
  },
);
