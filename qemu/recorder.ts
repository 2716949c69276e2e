/**
 * Records what a real QEMU writes, for tests that read it again: captures, and every byte of whole
 * migrations. The recordings hold QEMU's firmware, so they are made where they are needed.
 *
 * All are of one machine: q35 with 64 MiB and video memory under TCG. Captures are of the machine
 * before its processor's first step; migrations of the guest of boot_sector.ts, which keeps changing
 * 16 MiB.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { zstdCompressSync } from "node:zlib";
import { IgnoreStream, RamDecoder, StreamDecoder } from "../migration/protocol/mod.ts";
import { capture } from "./capture.ts";
import { startGuest, waitForRound } from "./guest.ts";
import {
  listenForPostcopy,
  queryMigrate,
  setCapabilities,
  setParameters,
  waitForMigration,
} from "./migration.ts";
import { Qemu } from "./qemu.ts";
import type { QemuBinary, VersionNumber } from "./qemu_binary.ts";
import { type RecordedConnection, WireRecorder } from "./wire_recorder.ts";

/** A machine type that every QEMU from 7.2 on has, for what passes between versions. */
const OLD_MACHINE = "pc-q35-7.2";
/** Video memory and its ROM: the blocks of an ordinary PC. */
const ARGS = ["-vga", "std"];

/** Bytes/s before the switchover: the guest changes its memory faster, so the migration goes on. */
const PRECOPY_BANDWIDTH = 64 << 20;
/** Bytes/s after it: the guest has asked for pages long before they would come by themselves. */
const POSTCOPY_BANDWIDTH = 8 << 20;
/** Bytes of the main channel before the switchover: the working set has gone once, and partly twice. */
const PRECOPY_BYTES = 20 << 20;
/** Bytes of the main channel between the switchover and the cut. */
const BYTES_BEFORE_CUT = 2 << 20;
/** How often a recording is tried that the luck of the threads may spoil. */
const ATTEMPTS = 3;

/** A QEMU to record. */
export interface RecordedQemu {
  readonly binary: QemuBinary;
  readonly version: VersionNumber;
}

/** How a version is written in the names of recordings: 7.2 as "72". */
function versionName([major, minor]: VersionNumber): string {
  return `${major}${minor}`;
}

/**
 * Records one QEMU: captures, a migration from it to itself, and one that is cut and resumed.
 *
 * @param qemu Needs root, as any postcopy destination of QEMU.
 * @param directory Where the recordings go, each compressed with zstd.
 * @returns What could not be recorded, and why.
 */
export async function recordQemu(qemu: RecordedQemu, directory: string): Promise<string[]> {
  const { binary, version } = qemu;
  const name = versionName(version);
  const [major] = version;
  return await record([
    [`capture-qemu${name}`, () => recordCapture(binary, `${directory}/capture-qemu${name}.bin`)],
    ...(major < 8 ? [] : [
      [
        `capture-qemu${name}-machine72`,
        () =>
          recordCapture(binary, `${directory}/capture-qemu${name}-machine72.bin`, {
            machine: OLD_MACHINE,
          }),
      ],
    ] as const),
    ...(major < 9 ? [] : [
      [
        `mapped-ram-qemu${name}`,
        () =>
          recordCapture(binary, `${directory}/mapped-ram-qemu${name}.bin`, {
            format: "mapped-ram",
          }),
      ],
    ] as const),
    [
      `wire-qemu${name}-to-${name}`,
      () => recordMigration(qemu, qemu, `${directory}/wire-qemu${name}-to-${name}`),
    ],
    [
      `wire-qemu${name}-recovery`,
      () => recordRecovery(qemu, `${directory}/wire-qemu${name}-recovery`),
    ],
  ]);
}

/**
 * Records a migration from one QEMU to another version.
 *
 * @returns What could not be recorded, and why.
 */
export async function recordPair(
  source: RecordedQemu,
  destination: RecordedQemu,
  directory: string,
): Promise<string[]> {
  const name = `wire-qemu${versionName(source.version)}-to-${versionName(destination.version)}`;
  return await record([
    [name, () => recordMigration(source, destination, `${directory}/${name}`, OLD_MACHINE)],
  ]);
}

/** Runs recordings one after the other; a QEMU too old for one may do for the others. */
async function record(
  recordings: readonly (readonly [name: string, make: () => Promise<void>])[],
): Promise<string[]> {
  const problems: string[] = [];
  for (const [name, make] of recordings) {
    try {
      await attempt(make);
    } catch (error) {
      problems.push(`Cannot record ${name}: ${error instanceof Error ? error.message : error}`);
    }
  }
  return problems;
}

async function attempt(make: () => Promise<void>): Promise<void> {
  for (let left = ATTEMPTS - 1;; left--) {
    try {
      return await make();
    } catch (error) {
      if (left === 0) throw error;
    }
  }
}

async function recordCapture(
  binary: QemuBinary,
  path: string,
  options: { readonly machine?: string; readonly format?: "stream" | "mapped-ram" } = {},
): Promise<void> {
  const { machine = "q35", format = "stream" } = options;
  await using qemu = await Qemu.start({ binary, machine, args: ARGS, stopped: true });
  await capture(qemu, path, { format });
  writeCompressed(`${path}.zst`, [await Deno.readFile(path)]);
  await Deno.remove(path);
}

/** A postcopy migration in the middle of things: begun, and switched over. */
class RunningMigration implements AsyncDisposable {
  readonly source: Qemu;
  readonly destination: Qemu;
  readonly wire: WireRecorder;

  private constructor(source: Qemu, destination: Qemu, wire: WireRecorder) {
    this.source = source;
    this.destination = destination;
    this.wire = wire;
  }

  static async begin(from: QemuBinary, to: QemuBinary, machine: string): Promise<RunningMigration> {
    await using cleanup = new AsyncDisposableStack();
    const guest = { machine, args: ARGS };
    const source = cleanup.use(await startGuest({ ...guest, binary: from }));
    const destination = cleanup.use(await startGuest({ ...guest, binary: to, incoming: true }));
    await waitForRound(source, 2);
    const wire = cleanup.use(new WireRecorder(await listenForPostcopy(destination)));
    await setCapabilities(source, { "postcopy-ram": true, "postcopy-preempt": true });
    await setParameters(source, {
      "max-bandwidth": PRECOPY_BANDWIDTH,
      "max-postcopy-bandwidth": POSTCOPY_BANDWIDTH,
      "downtime-limit": 1,
    });
    await source.execute("migrate", { uri: wire.uri });
    await (await wire.main).more(PRECOPY_BYTES);
    await source.execute("migrate-start-postcopy");
    await waitForMigration(destination, ["postcopy-active"], { since: 0 });
    cleanup.move();
    return new RunningMigration(source, destination, wire);
  }

  /** Waits until both have done, and gives the requests that the source counted. */
  async complete(): Promise<number> {
    const { source, destination } = this;
    await waitForMigration(source, ["completed"]);
    await waitForMigration(destination, ["completed"]);
    const { ram } = await queryMigrate(source);
    await source.close();
    await destination.close();
    await this.wire.ended();
    return ram!["postcopy-requests"]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source.close();
    await this.destination.close();
    await this.wire[Symbol.asyncDispose]();
  }
}

async function recordMigration(
  source: RecordedQemu,
  destination: RecordedQemu,
  directory: string,
  machine = "q35",
): Promise<void> {
  await using running = await RunningMigration.begin(source.binary, destination.binary, machine);
  const requests = await running.complete();
  const { connections } = running.wire;
  if (requests === 0) throw new Error("The guest asked for no page");
  checkWhole(connections[1]!);
  await writeWire(directory, connections, { requests });
}

async function recordRecovery({ binary }: RecordedQemu, directory: string): Promise<void> {
  await using running = await RunningMigration.begin(binary, binary, "q35");
  const { source, destination, wire } = running;
  const main = await wire.main;
  await main.more(BYTES_BEFORE_CUT);
  await main.cut();
  await waitForMigration(destination, ["postcopy-paused"]);
  await waitForMigration(source, ["postcopy-paused"]);
  await wire.ended();
  checkCutInsidePage(main);
  checkWhole(wire.connections[1]!);
  wire.port = await listenForRecovery(destination);
  const since = source.qmp.events.items.length;
  await source.execute("migrate", { uri: wire.uri, resume: true });
  await waitForMigration(source, ["postcopy-active"], { since });
  const requests = await running.complete();
  checkWhole(wire.connections[3]!);
  await writeWire(directory, wire.connections, { requests });
}

/** Makes a paused destination listen again, and gives the port. */
async function listenForRecovery(qemu: Qemu): Promise<number> {
  const ports = async (): Promise<number[]> =>
    ((await queryMigrate(qemu))["socket-address"] ?? []).map(({ port }) => Number(port));
  const before = await ports();
  await qemu.execute("migrate-recover", { uri: "tcp:127.0.0.1:0" });
  const port = (await ports()).find((each) => !before.includes(each));
  if (port === undefined) throw new Error("QEMU does not say where it listens");
  return port;
}

/** Sees that a preempt channel ended behind a record. */
function checkWhole({ down }: RecordedConnection): void {
  const decoder = new RamDecoder(new IgnoreStream());
  for (const piece of down) decoder.feed(piece);
  decoder.finish();
}

/** Sees that a main channel was cut inside a page, which the reader's tests are about. */
function checkCutInsidePage({ down }: RecordedConnection): void {
  const decoder = new StreamDecoder(new IgnoreStream());
  for (const piece of down) decoder.feed(piece);
  const length = down.reduce((sum, piece) => sum + piece.length, 0);
  if (length - decoder.offset < 16) throw new Error("The cut fell between two pages");
}

/** Writes the directions in which something passed, and what QEMU said of the migration. */
async function writeWire(
  directory: string,
  connections: readonly RecordedConnection[],
  statistics: { readonly requests: number },
): Promise<void> {
  await Deno.mkdir(directory, { recursive: true });
  connections.forEach(({ down, up }, index) => {
    if (down.length > 0) writeCompressed(`${directory}/conn${index}.s2d.zst`, down);
    if (up.length > 0) writeCompressed(`${directory}/conn${index}.d2s.zst`, up);
  });
  await Deno.writeTextFile(`${directory}/statistics.json`, JSON.stringify(statistics));
}

function writeCompressed(path: string, pieces: readonly Uint8Array[]): void {
  Deno.writeFileSync(path, zstdCompressSync(Buffer.concat(pieces)));
}
