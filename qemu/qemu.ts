/**
 * A QEMU process under control: started with a bare machine, spoken to over QMP on its standard
 * streams, its serial port read over a unix socket, ended with the object.
 *
 * Nothing but migration goes over the network, so that a QEMU may live in a network namespace of its
 * own. No port number is guessed: migration listens on port 0 and is asked for the port it got.
 *
 * @module
 */
import { readLines } from "./lines.ts";
import type { WaitOptions } from "./event_log.ts";
import { type QemuVersion, QmpClient } from "./qmp_client.ts";
import { type QemuBinary, qemuFromEnvironment } from "./qemu_binary.ts";
import { SerialLog } from "./serial_log.ts";

/** Bytes of the boot disk: below half a MiB it has no whole cylinder, and SeaBIOS cannot read it. */
const DISK_SIZE = 1 << 20;

/** File of the second monitor. */
const MONITOR = "qmp";

/** How a QEMU is started. */
export interface QemuOptions {
  /** Which QEMU. Default what the environment says (see qemu_binary.ts). */
  binary?: QemuBinary;
  /** Machine type; a name with a version, such as "pc-q35-7.2", makes captures portable. */
  machine?: string;
  /** Default "tcg", which works everywhere; "kvm" needs /dev/kvm, also inside a changed root. */
  accel?: "tcg" | "kvm";
  /** Memory of the guest in MiB. Default 64. */
  memoryMiB?: number;
  /** The first sector of the guest's disk, which it boots from. Default none: it finds no disk. */
  bootSector?: Uint8Array<ArrayBuffer>;
  /** How the disk is attached; default "virtio", which needs PCI. */
  disk?: "virtio" | "ide";
  /** Waits for an incoming migration instead of booting ("-incoming defer"). */
  incoming?: boolean;
  /** Starts with the guest stopped ("-S"). */
  stopped?: boolean;
  /** Has a second QMP monitor, at {@linkcode Qemu.monitorPath}. */
  monitorSocket?: boolean;
  /** Words before the command: a network namespace, a CPU placement. */
  prefix?: readonly string[];
  /** Further arguments. */
  args?: readonly string[];
}

/** A running QEMU. */
export class Qemu implements AsyncDisposable {
  /** Its control session. */
  readonly qmp: QmpClient;
  /** Its version. */
  readonly version: QemuVersion;
  /** What its guest prints. */
  readonly serial: SerialLog;
  /** Fulfilled when the process has ended, for whatever reason. */
  readonly exited: Promise<Deno.CommandStatus>;
  /** A directory that both this process and QEMU see; removed with the QEMU. */
  readonly directory: SharedDirectory;
  readonly #process: Process;
  readonly #port: Deno.Conn;

  private constructor(
    process: Process,
    qmp: QmpClient,
    version: QemuVersion,
    serial: SerialLog,
    port: Deno.Conn,
  ) {
    this.#process = process;
    this.#port = port;
    this.qmp = qmp;
    this.version = version;
    this.serial = serial;
    this.exited = process.child.status;
    this.directory = process.directory;
  }

  /**
   * Starts a QEMU and waits until it can be spoken to.
   *
   * @param options What machine, and how.
   * @returns The QEMU; its guest may be running already.
   * @throws {Error} When it does not start, with what it said.
   *
   * @example
   * ```ts ignore
   * await using qemu = await Qemu.start({ bootSector: buildBootSector() });
   * await qemu.serial.waitForLine("a round", (text) => text.startsWith("round"));
   * ```
   */
  static async start(options: QemuOptions = {}): Promise<Qemu> {
    const binary = options.binary ?? qemuFromEnvironment();
    using cleanup = new DisposableStack();
    const directory = cleanup.use(new SharedDirectory(binary.root));
    const listener = Deno.listen({ transport: "unix", path: directory.ours("serial") });
    const closeListener = once(() => listener.close());
    cleanup.defer(closeListener);
    const args = machineArguments(options, directory);
    const command = [...options.prefix ?? [], ...binary.command, ...args];
    const process = cleanup.use(await Process.spawn(command, directory));
    const accepted = listener.accept();
    accepted.catch(() => {}); // closing the listener rejects it, when QEMU ended before
    process.child.status.then(closeListener);
    let qmp: QmpClient | undefined;
    try {
      qmp = await QmpClient.open(process.child.stdout, process.child.stdin);
      const port = await accepted;
      const serial = new SerialLog(port.readable);
      await qmp.execute("migrate-set-capabilities", {
        capabilities: [{ capability: "events", state: true }],
      });
      closeListener();
      cleanup.move();
      return new Qemu(process, qmp, await qmp.version, serial, port);
    } catch (cause) {
      process.kill();
      await process.ended;
      await qmp?.close();
      const said = process.stderr.trim();
      throw new Error(`QEMU did not start: ${said === "" ? cause : said}`, { cause });
    }
  }

  /** Its process id. */
  get pid(): number {
    return this.#process.child.pid;
  }

  /** Path of its second monitor, where it has one. */
  get monitorPath(): string {
    return this.directory.ours(MONITOR);
  }

  /** What it has written to its standard error so far. */
  get stderr(): string {
    return this.#process.stderr;
  }

  /** Tells whether its version is this one or later. */
  atLeast(major: number, minor: number): boolean {
    return this.version.major > major ||
      this.version.major === major && this.version.minor >= minor;
  }

  /** Runs a QMP command; see {@linkcode QmpClient.execute}. */
  execute<T = unknown>(command: string, args?: Record<string, unknown>): Promise<T> {
    return this.qmp.execute<T>(command, args);
  }

  /** Runs a command of the human monitor, such as "info migrate". */
  async monitor(line: string): Promise<string> {
    return await this.execute("human-monitor-command", { "command-line": line });
  }

  /** What the guest is doing: "running", "paused", "inmigrate", "postmigrate" and so on. */
  async runState(): Promise<string> {
    return (await this.execute<{ status: string }>("query-status")).status;
  }

  /** Stops the guest's processors. */
  async stop(): Promise<void> {
    await this.execute("stop");
  }

  /** Lets the guest's processors run. */
  async resume(): Promise<void> {
    await this.execute("cont");
  }

  /** Types a short text at the guest's serial port. */
  async type(text: string): Promise<void> {
    await this.#port.write(new TextEncoder().encode(text));
  }

  /** Waits until the guest's processors run, also when they do already. */
  async waitUntilRunning(options: WaitOptions = {}): Promise<void> {
    const since = this.qmp.events.items.length;
    if (await this.runState() === "running") return;
    await this.qmp.waitForEvent("RESUME", undefined, { since, ...options });
  }

  /**
   * Kills the process and waits for its end; all its output is then in {@linkcode serial}. Closing
   * twice is harmless. It is killed, not asked: a processor that waits for a page which nobody sends
   * keeps QEMU from quitting.
   */
  async close(): Promise<void> {
    this.#process.kill();
    await this.#process.ended;
    await this.qmp.close();
    await this.serial.ended;
    this.directory[Symbol.dispose]();
  }

  /** Kills the process. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** A temporary directory that QEMU sees too, under another name when its root is another. */
export class SharedDirectory implements Disposable {
  /** Its path for this process. */
  readonly path: string;
  readonly #root: string;
  readonly #remove: () => void;

  /** @param root The directory that QEMU sees as `/`. */
  constructor(root: string) {
    this.#root = root.replace(/\/+$/, "");
    const parent = this.#root === "" ? {} : { dir: `${this.#root}/tmp` };
    this.path = Deno.makeTempDirSync({ prefix: "postcopy-qemu-", ...parent });
    this.#remove = once(() => Deno.removeSync(this.path, { recursive: true }));
  }

  /** The path of a file in it, for this process. */
  ours(name: string): string {
    return `${this.path}/${name}`;
  }

  /** The path of a file in it, for QEMU. */
  theirs(name: string): string {
    return this.ours(name).slice(this.#root.length);
  }

  /** Removes it with all that is in it. */
  [Symbol.dispose](): void {
    this.#remove();
  }
}

/** The child process, its standard error, and its end. */
class Process implements Disposable {
  readonly ended: Promise<void>;
  readonly kill: () => void;
  stderr = "";

  private constructor(readonly child: Deno.ChildProcess, readonly directory: SharedDirectory) {
    const errors = readLines(child.stderr, () => {}, (text) => this.stderr += text);
    let running = true;
    const status = child.status.then(() => {
      running = false;
    });
    this.ended = Promise.all([status, errors]).then(() => {});
    this.kill = (): void => {
      if (running) child.kill("SIGKILL");
    };
  }

  static async spawn(command: string[], directory: SharedDirectory): Promise<Process> {
    const words = [...await diesWithUs(), ...command];
    const child = new Deno.Command(words[0]!, {
      args: words.slice(1),
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    return new Process(child, directory);
  }

  [Symbol.dispose](): void {
    this.kill();
  }
}

/**
 * The command that makes the kernel kill a child when its parent dies, however that ends: a guest
 * left behind would keep a core busy. util-linux has it; without it a killed test leaves its QEMU.
 */
async function diesWithUs(): Promise<string[]> {
  const found = await Deno.stat("/usr/bin/setpriv").catch(() => undefined);
  return found === undefined ? [] : ["/usr/bin/setpriv", "--pdeathsig", "KILL"];
}

function machineArguments(
  options: QemuOptions,
  directory: SharedDirectory,
): string[] {
  const { machine = "q35", accel = "tcg", memoryMiB = 64 } = options;
  const args = ["-machine", machine, "-accel", accel, "-m", `${memoryMiB}`];
  args.push("-nodefaults", "-no-user-config", "-display", "none", "-no-reboot");
  args.push("-qmp", "stdio");
  if (options.monitorSocket) {
    args.push("-qmp", `unix:${directory.theirs(MONITOR)},server=on,wait=off`);
  }
  const socket = directory.theirs("serial");
  args.push("-chardev", `socket,id=serial,path=${socket}`, "-serial", "chardev:serial");
  if (options.bootSector !== undefined) {
    const disk = directory.ours("boot.img");
    Deno.writeFileSync(disk, options.bootSector);
    Deno.truncateSync(disk, DISK_SIZE);
    const file = directory.theirs("boot.img");
    // An IDE disk cannot be read-only; the guest does not write to it.
    const access = options.disk === "ide" ? "if=ide" : "if=virtio,readonly=on";
    args.push("-drive", `file=${file},format=raw,${access}`);
  }
  if (options.incoming) args.push("-incoming", "defer");
  if (options.stopped) args.push("-S");
  args.push(...options.args ?? []);
  return args;
}

/** Makes a function whose second call does nothing. */
function once(action: () => void): () => void {
  let done = false;
  return () => {
    if (done) return;
    done = true;
    action();
  };
}
