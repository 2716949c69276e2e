/**
 * Which QEMU the tests, the demo and the benchmarks start.
 *
 * - `QEMU_SYSTEM`: the command, its words separated by spaces. A path, a name in PATH, or a wrapper:
 *   `QEMU_SYSTEM="chroot /srv/trixie qemu-system-x86_64"` runs a newer Debian's QEMU. A wrapper
 *   script must end in `exec`, so that the process we started is QEMU and ends when we end it.
 * - `QEMU_ROOT`: the directory that QEMU sees as `/`, for wrapper scripts that change it. A command
 *   that begins with `chroot` says it itself. The harness keeps the few files it shares with QEMU
 *   (the boot disk) in `$QEMU_ROOT/tmp`; everything else goes through pipes and TCP on loopback.
 *
 * @module
 */

/** A QEMU that can be started. */
export interface QemuBinary {
  /** The command and its first arguments. */
  readonly command: readonly string[];
  /** The directory that it sees as its root. */
  readonly root: string;
}

const DEFAULT_COMMAND = "/usr/bin/qemu-system-x86_64";

/**
 * Reads which QEMU to start from the environment.
 *
 * @param environment `QEMU_SYSTEM` and `QEMU_ROOT` are read. Default the process's own.
 * @returns The command; whether it exists is not looked at.
 */
export function qemuFromEnvironment(
  environment: { get(name: string): string | undefined } = Deno.env,
): QemuBinary {
  const words = (environment.get("QEMU_SYSTEM") ?? "").split(/\s+/).filter((word) => word !== "");
  const command = words.length > 0 ? words : [DEFAULT_COMMAND];
  const operands = command.slice(1).filter((word) => !word.startsWith("-"));
  const changedRoot = /(^|\/)chroot$/.test(command[0]!) ? operands[0] : undefined;
  return { command, root: environment.get("QEMU_ROOT") ?? changedRoot ?? "/" };
}

/** Version of a QEMU, such as `[7, 2, 22]`. */
export type VersionNumber = readonly [major: number, minor: number, micro: number];

/** Asks a QEMU for its version without starting a machine; undefined when it cannot be started. */
export async function versionOf({ command }: QemuBinary): Promise<VersionNumber | undefined> {
  const [program, ...args] = command;
  const asking = new Deno.Command(program!, {
    args: [...args, "-version"],
    stdin: "null",
    stderr: "null",
  });
  const output = await asking.output().catch(() => undefined);
  const match = /version (\d+)\.(\d+)\.(\d+)/.exec(new TextDecoder().decode(output?.stdout));
  return match === null ? undefined : [Number(match[1]), Number(match[2]), Number(match[3])];
}

/**
 * Finds out whether a QEMU can be started.
 *
 * @param binary The QEMU. Default what the environment says.
 * @returns Why not, with what to do about it; undefined when it can.
 */
export async function whyNoQemu(
  binary: QemuBinary = qemuFromEnvironment(),
): Promise<string | undefined> {
  const [program, ...args] = binary.command;
  const advice = "install Debian's qemu-system-x86, or name a QEMU in QEMU_SYSTEM";
  try {
    const { success, stderr } = await new Deno.Command(program!, {
      args: [...args, "-version"],
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).output();
    if (success) return undefined;
    return `QEMU does not start: ${new TextDecoder().decode(stderr).trim()}; ${advice}`;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    return `QEMU is missing: ${binary.command.join(" ")}; ${advice}`;
  }
}
