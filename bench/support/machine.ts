/** The machine a benchmark ran on, so that its figures mean something. */

/** What is known of a machine. */
export interface Machine {
  /** CPU model as the kernel names it. */
  readonly cpu: string;
  /** CPUs online. */
  readonly cores: number;
  /** `"bare metal"`, or the hypervisor bit's `"virtual machine"`. */
  readonly kind: string;
  /** Bytes of memory. */
  readonly memory: number;
  /** Kernel release. */
  readonly kernel: string;
  /** Deno's version. */
  readonly deno: string;
  /** Version of QEMU, or undefined when it is not there or was not asked for. */
  readonly qemu?: string;
}

/**
 * Describes this machine.
 *
 * @param qemu version of the QEMU that takes part, if one does and says it
 */
export async function describeMachine(qemu?: string): Promise<Machine> {
  const cpuinfo = await Deno.readTextFile("/proc/cpuinfo");
  const model = /^model name\s*:\s*(.+)$/m.exec(cpuinfo)?.[1] ?? Deno.build.arch;
  return {
    cpu: model,
    cores: navigator.hardwareConcurrency,
    kind: /^flags\s*:.*\bhypervisor\b/m.test(cpuinfo) ? "virtual machine" : "bare metal",
    memory: Deno.systemMemoryInfo().total,
    kernel: Deno.osRelease(),
    deno: Deno.version.deno,
    ...qemu === undefined ? {} : { qemu },
  };
}

/**
 * Asks a QEMU for its version.
 *
 * @param command the words that start it
 * @returns for example `"7.2.22"`, or undefined when it does not say
 * @throws {Deno.errors.NotFound} when there is no such command
 */
export async function qemuVersion(command: readonly string[]): Promise<string | undefined> {
  const { stdout } = await new Deno.Command(command[0]!, {
    args: [...command.slice(1), "--version"],
    stdout: "piped",
    stderr: "null",
  }).output();
  return /version (\d+\.\d+\.\d+)/.exec(new TextDecoder().decode(stdout))?.[1];
}

/** Writes a machine as one line for a table's caption. */
export function formatMachine(machine: Machine): string {
  const gibibytes = (machine.memory / 2 ** 30).toFixed(0);
  const qemu = machine.qemu === undefined ? "" : `, QEMU ${machine.qemu}`;
  return `${machine.cores} x ${machine.cpu} (${machine.kind}), ${gibibytes} GiB, ` +
    `Linux ${machine.kernel}, Deno ${machine.deno}${qemu}`;
}
