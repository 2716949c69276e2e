/** A host with a real systemd: process 1 of namespaces of its own (host.sh), with the network of this one. */

import { TextLineStream } from "@std/streams";
import { commandPath } from "../../tools/find_command.ts";
import { until, within } from "../support/deadline.ts";
import { cgroupRoot, systemdTree } from "./systemd_tree.ts";

/** What a container has no use for, or what is of the whole machine: kernel file systems, consoles, logins, timers. */
const MASKED = [
  ...["dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount"],
  ...["sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount"],
  ...["proc-sys-fs-binfmt_misc.automount", "systemd-binfmt.service", "systemd-sysctl.service"],
  ...["systemd-modules-load.service", "systemd-logind.service", "getty.target", "timers.target"],
  ...["ldconfig.service", "systemd-journal-catalog-update.service"],
];
/** What `systemctl is-system-running` says of a start that is over. */
const STARTED = ["running", "degraded", "maintenance", "stopping"];
const ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
  NO_COLOR: "1",
};

/** A command of the host's that failed. */
export class HostError extends Error {
  override readonly name = "HostError";
}

/** A host; all of it is gone when it is disposed of, or when this process ends. */
export class SystemdHost implements AsyncDisposable {
  /** Its process 1. */
  readonly pid: number;
  readonly #keeper: Keeper;

  private constructor(keeper: Keeper, pid: number) {
    this.#keeper = keeper;
    this.pid = pid;
  }

  /**
   * Starts it, and waits until all that it starts by itself is there.
   *
   * @throws {HostError} when the kernel does not allow it, or not all of it comes up
   */
  static async start(): Promise<SystemdHost> {
    const keeper = new Keeper();
    try {
      const host = new SystemdHost(keeper, await keeper.pid());
      await host.#started();
      return host;
    } catch (error) {
      await keeper.end();
      throw error;
    }
  }

  /** The cgroup that all of its processes are in. */
  get cgroup(): string {
    return this.#keeper.cgroup;
  }

  /** Its root directory, seen from here. */
  get root(): string {
    return `/proc/${this.pid}/root`;
  }

  /** Words that run a command there: it ends with the process that they start. */
  words(...command: string[]): [string, ...string[]] {
    const environment = Object.entries(ENVIRONMENT).map(([name, value]) => `${name}=${value}`);
    return [
      commandPath("nsenter"),
      ...["--target", `${this.pid}`, "--mount", "--uts", "--ipc", "--pid", "--cgroup"],
      ...["/usr/bin/env", "-i", ...environment, "setpriv", "--pdeathsig", "KILL", ...command],
    ];
  }

  /** Runs a command there, whatever it says and however it ends. */
  async try(...command: string[]): Promise<{ code: number; output: string; errors: string }> {
    const [program, ...args] = this.words(...command);
    const output = new Deno.Command(program, { args, stdin: "null" }).output();
    // The longest that systemd waits by itself, for a service that does not say that it is ready, and some more.
    const { code, stdout, stderr } = await within(command.join(" "), output, 120_000);
    const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trimEnd();
    return { code, output: text(stdout), errors: text(stderr) };
  }

  /**
   * Runs a command there.
   *
   * @returns what it says on standard output
   * @throws {HostError} when it fails, with all that it said
   */
  async run(...command: string[]): Promise<string> {
    const { code, output, errors } = await this.try(...command);
    if (code === 0) return output;
    throw new HostError(`${command.join(" ")}: exit ${code}:\n${output}\n${errors}`.trimEnd());
  }

  /** Runs lines of a shell there, which ends with the first that fails. */
  async shell(...lines: readonly string[]): Promise<string> {
    return await this.run("sh", "-exc", lines.join("\n"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#keeper.end();
  }

  async #started(): Promise<void> {
    let state = "";
    await until("systemd to have started", async () => {
      if (this.#keeper.over) throw new HostError(`systemd has ended: ${this.#keeper.errors}`);
      state = (await this.try("systemctl", "is-system-running", "--wait")).output;
      return STARTED.includes(state);
    });
    if (state === "running") return;
    const units = await this.run("systemctl", "--failed", "--no-legend", "--plain");
    throw new HostError(`systemd is ${state}, not running: ${units}`);
  }
}

/** The process that keeps a host (host.sh), and what it says. */
class Keeper {
  readonly #child: Deno.ChildProcess;
  readonly #pid = Promise.withResolvers<number>();
  readonly #reading: Promise<unknown>;
  readonly #directory = Deno.makeTempDirSync({ prefix: "postcopy-systemd-" });
  readonly cgroup = `${cgroupRoot()}/${this.#directory.replace(/.*\//, "")}`;
  /** All that it said of what failed. */
  errors = "";
  /** Whether systemd has ended. */
  over = false;

  constructor() {
    const script = new URL("./host.sh", import.meta.url).pathname;
    const inside = [systemdTree()!, Deno.execPath(), npmPackages(), ...MASKED];
    this.#child = new Deno.Command("sh", {
      args: [script, this.cgroup, this.#directory, ...inside],
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#pid.promise.catch(() => {}); // told by pid()
    this.#reading = Promise.all([this.#readLines(), this.#readErrors()]);
  }

  /** The number of process 1, once it is there. */
  async pid(): Promise<number> {
    return await within("the namespaces of a host", this.#pid.promise);
  }

  /** Ends all, and waits until it is gone. */
  async end(): Promise<void> {
    await this.#child.stdin.close().catch(() => {});
    await within("the end of a host", this.#reading);
    await this.#child.status;
  }

  async #readLines(): Promise<void> {
    const lines = this.#child.stdout.pipeThrough(new TextDecoderStream())
      .pipeThrough(new TextLineStream());
    for await (const line of lines) {
      const [word, number] = line.split(" ");
      if (word === "pid") this.#pid.resolve(Number(number));
      else if (word === "over") this.#isOver();
    }
    this.#isOver();
  }

  async #readErrors(): Promise<void> {
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      this.errors += text;
    }
  }

  #isOver(): void {
    this.over = true;
    this.#pid.reject(new HostError(`no namespaces for it: ${this.errors.trim()}`));
  }
}

/** Packages of npm in the cache that the tasks have filled (tools/daemon_packages.ts). */
function npmPackages(): string {
  let cache = Deno.env.get("DENO_DIR");
  if (cache === undefined) {
    const { stdout } = new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).outputSync();
    cache = (JSON.parse(new TextDecoder().decode(stdout)) as { denoDir: string }).denoDir;
  }
  return `${cache.replace(/\/$/, "")}/npm`;
}
