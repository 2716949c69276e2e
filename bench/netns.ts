/** Two network namespaces joined by a veth pair that is shaped to a rate, as root with iproute2. */

import { commandPath } from "../tools/find_command.ts";
import { atExit } from "./support/at_exit.ts";
import type { Link, LinkEnd } from "./support/link.ts";

/** Every namespace made here is named `postcopy-PID-source` or `-destination`. */
const NAME = /^postcopy-(\d+)-(?:source|destination)\b/;
/** The veth of each end lives in its own namespace, so that the name need not be unique. */
const DEVICE = "veth0";

// TEST-NET-1 of RFC 5737: exists in no real network, and here only within the two namespaces.
const SOURCE_HOST = "192.0.2.1";
const DESTINATION_HOST = "192.0.2.2";

/** Thrown when iproute2 or the kernel refuses. */
export class NetworkNamespaceError extends Error {
  override readonly name = "NetworkNamespaceError";
  /** Machine-readable reason. */
  readonly code = "NETWORK_NAMESPACE";
}

/** How a rate is shaped with tc-tbf(8). */
export interface Shape {
  /** Bits a second. */
  readonly rate: number;
  /** Bytes that may leave at once: the bucket. */
  readonly burst: number;
  /** Bytes that may wait in the queue before packets are dropped. */
  readonly limit: number;
}

/** The largest packet that segmentation offload makes, with its headers. */
const LARGEST_PACKET = 65536 + 256;

/**
 * Chooses bucket and queue for a rate. The bucket holds a quarter of a millisecond, but at least two
 * of the largest packets, which tbf would otherwise cut up: small enough that a page waits for the
 * link and not for luck, large enough for the kernel's timers. The queue holds four milliseconds, as
 * a switch with a few MiB for a port does, so that TCP fills the link without loss.
 *
 * @param rate bits a second
 */
export function shapeFor(rate: number): Shape {
  const bytesPerSecond = rate / 8;
  return {
    rate,
    burst: Math.max(2 * LARGEST_PACKET, Math.ceil(bytesPerSecond / 4000)),
    limit: Math.max(16 * LARGEST_PACKET, Math.ceil(bytesPerSecond / 250)),
  };
}

function run(words: readonly string[]): void {
  let output: Deno.CommandOutput;
  try {
    output = new Deno.Command(commandPath(words[0]!), {
      args: words.slice(1),
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).outputSync();
  } catch (cause) {
    throw new NetworkNamespaceError(
      `Cannot run ${words[0]}: install iproute2 (apt-get install iproute2)`,
      { cause },
    );
  }
  if (!output.success) {
    const reason = new TextDecoder().decode(output.stderr).trim();
    throw new NetworkNamespaceError(`${words.join(" ")} failed: ${reason}`);
  }
}

function listNamespaces(): string[] {
  const { stdout } = new Deno.Command(commandPath("ip"), {
    args: ["netns", "list"],
    stderr: "null",
  })
    .outputSync();
  return new TextDecoder().decode(stdout).split("\n");
}

/** Removes what a killed run left behind: namespaces whose process is gone. */
function removeStale(): void {
  for (const line of listNamespaces()) {
    const match = NAME.exec(line);
    if (match === null) continue;
    try {
      Deno.statSync(`/proc/${match[1]}`);
    } catch {
      run(["ip", "netns", "delete", match[0]]);
    }
  }
}

/**
 * A shaped link between two network namespaces. It is removed when disposed, on Ctrl-C and when the
 * process ends in any way but SIGKILL; what SIGKILL leaves, the next run removes.
 *
 * @example
 * ```ts ignore
 * using link = ShapedLink.create(1e9);
 * new Deno.Command("ip", { args: ["netns", "exec", link.source.prefix[3]!, "ip", "address"] });
 * ```
 */
export class ShapedLink implements Link, Disposable {
  readonly name: string;
  readonly source: LinkEnd;
  readonly destination: LinkEnd;
  /** How each direction is shaped. */
  readonly shape: Shape;

  readonly #namespaces = [
    `postcopy-${Deno.pid}-source`,
    `postcopy-${Deno.pid}-destination`,
  ] as const;
  readonly #forget: () => void;
  #open = true;

  private constructor(shape: Shape) {
    this.shape = shape;
    this.name = `veth ${shape.rate / 1e9} Gbit/s`;
    const [source, destination] = this.#namespaces;
    const inside = [commandPath("ip"), "netns", "exec"];
    this.source = { prefix: [...inside, source], host: SOURCE_HOST };
    this.destination = { prefix: [...inside, destination], host: DESTINATION_HOST };
    this.#forget = atExit(() => this.close());
  }

  /**
   * Makes the namespaces and the veth pair. One at a time in a process.
   *
   * @param rate bits a second in each direction
   * @throws {NetworkNamespaceError} without root or iproute2, or when the kernel lacks veth or tbf
   */
  static create(rate: number): ShapedLink {
    removeStale();
    const link = new ShapedLink(shapeFor(rate));
    try {
      link.#build();
    } catch (error) {
      link.close();
      throw error;
    }
    return link;
  }

  #build(): void {
    const [source, destination] = this.#namespaces;
    run(["ip", "netns", "add", source]);
    run(["ip", "netns", "add", destination]);
    run([
      ...["ip", "link", "add", DEVICE, "netns", source, "type", "veth"],
      ...["peer", "name", DEVICE, "netns", destination],
    ]);
    this.#configure(source, SOURCE_HOST);
    this.#configure(destination, DESTINATION_HOST);
  }

  #configure(namespace: string, host: string): void {
    const { rate, burst, limit } = this.shape;
    run(["ip", "-n", namespace, "address", "add", `${host}/30`, "dev", DEVICE]);
    run(["ip", "-n", namespace, "link", "set", "lo", "up"]);
    run(["ip", "-n", namespace, "link", "set", DEVICE, "up"]);
    run([
      ...["tc", "-n", namespace, "qdisc", "add", "dev", DEVICE, "root", "tbf"],
      ...["rate", `${rate}bit`, "burst", `${burst}b`, "limit", `${limit}b`],
    ]);
  }

  /** Removes the namespaces and with them the veth pair. Closing again does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#forget();
    const there = listNamespaces().map((line) => line.split(" ", 1)[0]);
    for (const namespace of this.#namespaces) {
      if (there.includes(namespace)) run(["ip", "netns", "delete", namespace]);
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
