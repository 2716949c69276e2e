/** VMs that are served from a local file: by a plain handler, a process a VM, or by `lazy`. */

import { TextLineStream } from "@std/streams";
import { denoCommand } from "../support/bench_process.ts";
import { readTouches, type Touches } from "./programs.ts";

/** A handler. */
export type HandlerName = "plain" | "lazy";

/** How much is done. */
export interface FaultLoad {
  readonly vms: number;
  /** Of each VM. */
  readonly threads: number;
  /** Of each VM. */
  readonly mebibytes: number;
  /** Whether a balloon of each, which has a quarter more memory, removes pages without an end. */
  readonly balloon?: boolean | undefined;
}

/** What it takes. */
export interface FaultPrograms {
  readonly toucher: string;
  readonly plainHandler: string;
  /** The memory file. */
  readonly memory: string;
  /** For sockets. */
  readonly directory: string;
}

/** What came of it. */
export interface FaultFigures {
  /** Microseconds, of all VMs. */
  readonly p50: number;
  readonly p99: number;
  readonly faultsPerSecond: number;
  /** Microseconds for which a thread of the balloon stands in madvise; 0 without one. */
  readonly removalP50: number;
  readonly removalsPerSecond: number;
}

/** A program, and the lines that it says. */
class Program implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #lines: AsyncIterator<string>;

  constructor([program, ...args]: readonly string[], error: "inherit" | "null" = "inherit") {
    const io = { stdin: "piped", stdout: "piped", stderr: error } as const;
    this.#child = new Deno.Command(program!, { args, ...io }).spawn();
    const lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    this.#lines = lines[Symbol.asyncIterator]();
  }

  async line(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("A program of the benchmark ended early");
    return value;
  }

  async tell(line: string): Promise<void> {
    const writer = this.#child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(`${line}\n`));
    writer.releaseLock();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#child.stdin.close().catch(() => {});
    while (!(await this.#lines.next()).done);
  }
}

let sockets = 0;

/** Has VMs read all of their memory, all at once; nothing is placed but what they ask for. */
export async function measureFaults(
  handler: HandlerName,
  load: FaultLoad,
  programs: FaultPrograms,
): Promise<FaultFigures> {
  await using stack = new AsyncDisposableStack();
  const how = load.balloon === true ? ["balloon"] : [];
  const machines = await startMachines(handler, load, programs, stack, ["--no-fill"], how);
  for (const machine of machines) await machine.line();
  await Promise.all(machines.map((machine) => machine.tell("go")));
  const said = await Promise.all(machines.map((machine) => machine.line()));
  return figuresOf(said.map(readTouches));
}

/** What came of reading all memory at once; means of VMs. */
export interface TotalFigures {
  /** Milliseconds from when a VM begins to hand over until all of its memory is there. */
  readonly total: number;
  /** Microseconds for which a thread of the balloon stands in madvise meanwhile; 0 without one. */
  readonly removalP50: number;
}

/** Has VMs read all of their memory, each from its start on, while whoever can fills what they have not read. */
export async function measureTotal(
  handler: HandlerName,
  load: FaultLoad,
  programs: FaultPrograms,
): Promise<TotalFigures> {
  await using stack = new AsyncDisposableStack();
  const how = [load.balloon === true ? "both" : "at-once"];
  const machines = await startMachines(handler, load, programs, stack, [], how);
  const said = await Promise.all(machines.map((machine) => machine.line()));
  const all = said.map(readTouches);
  return {
    total: meanOf(all, ({ begin, end }) => end - begin),
    removalP50: meanOf(all, ({ removalP50 }) => removalP50),
  };
}

async function startMachines(
  handler: HandlerName,
  { vms, threads, mebibytes }: FaultLoad,
  programs: FaultPrograms,
  stack: AsyncDisposableStack,
  options: readonly string[],
  how: readonly string[],
): Promise<Program[]> {
  const newSocket = () => `${programs.directory}/socket-${sockets++}`;
  const shared = newSocket();
  if (handler === "lazy") {
    const script = new URL("../../client/main.ts", import.meta.url);
    const args = ["lazy", "--firecracker", shared, "--image", programs.memory, "--json"];
    const server = new Program(denoCommand(script, [...args, ...options]));
    stack.use(server);
    await server.line(); // listening
    (async () => {
      // What it says is read, and not looked at.
      while (true) await server.line();
    })().catch(() => {});
  }
  const machines: Program[] = [];
  for (let vm = 0; vm < vms; vm++) {
    const socket = handler === "lazy" ? shared : newSocket();
    if (handler === "plain") {
      const plain = stack.use(new Program([programs.plainHandler, socket, programs.memory]));
      await plain.line();
    }
    const words = [programs.toucher, "vmm", socket, `${mebibytes}`, `${threads}`, ...how];
    machines.push(stack.use(new Program(words)));
  }
  return machines;
}

function meanOf(all: readonly Touches[], pick: (each: Touches) => number): number {
  return all.reduce((sum, each) => sum + pick(each), 0) / all.length;
}

function figuresOf(all: readonly Touches[]): FaultFigures {
  const begin = Math.min(...all.map((each) => each.begin));
  const end = Math.max(...all.map((each) => each.end));
  const perSecond = (pick: (each: Touches) => number) =>
    all.reduce((sum, each) => sum + pick(each), 0) / (end - begin) * 1000;
  return {
    p50: meanOf(all, ({ p50 }) => p50),
    p99: meanOf(all, ({ p99 }) => p99),
    faultsPerSecond: perSecond(({ touches }) => touches),
    removalP50: meanOf(all, ({ removalP50 }) => removalP50),
    removalsPerSecond: perSecond(({ removals }) => removals),
  };
}
