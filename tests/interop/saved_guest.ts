/** A guest saved from QEMU in a directory of its own, and the QEMUs that it is restored into. */

import { parseSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import type { CaptureOptions } from "../../qemu/capture.ts";
import {
  type CapturedGuest,
  captureGuest,
  checkRounds,
  type GuestMachine,
  startGuest,
  waitForRound,
} from "../../qemu/guest.ts";
import { listenForMigration, setCapabilities } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";

/** Rounds that a restored guest must add: it has then seen all of its memory, and written it. */
const ROUNDS_AFTER = 3;

/** Capabilities of a destination, by QEMU's names. */
export type Capabilities = Readonly<Record<string, boolean>>;

/** What a destination needs for the modes with a preempt channel. */
export const PREEMPT: Capabilities = { "postcopy-ram": true, "postcopy-preempt": true };
/** What a destination needs for the mode vanilla. */
export const VANILLA: Capabilities = { "postcopy-ram": true };

/** A QEMU that waits for a guest. */
export interface WaitingQemu {
  readonly qemu: Qemu;
  /** Where it listens, for the command line. */
  readonly uri: string;
  /** Where it listens, for the module. */
  readonly address: SocketAddress;
}

/** A guest that was captured, and the file that it lay in. */
interface Captured {
  readonly guest: CapturedGuest;
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/**
 * What the tests of one file have captured, by how. To boot a guest and let it count takes as long as
 * many a test of what becomes of it: tests that want the same guest share what was saved of it.
 */
const captures = new Map<string, Promise<Captured>>();

/** Captures a guest, unless that was done before in the same way. */
async function captured(machine: GuestMachine, options: CaptureOptions): Promise<Captured> {
  const how = JSON.stringify([machine, options]);
  let capture = captures.get(how);
  if (capture === undefined) captures.set(how, capture = captureAnew(machine, options));
  try {
    return await capture;
  } catch (error) {
    captures.delete(how);
    throw error;
  }
}

async function captureAnew(machine: GuestMachine, options: CaptureOptions): Promise<Captured> {
  const path = await Deno.makeTempFile({ prefix: "postcopy-capture-" });
  try {
    const guest = await captureGuest(path, machine, options);
    return { guest, bytes: await Deno.readFile(path) };
  } finally {
    await Deno.remove(path);
  }
}

/** A guest in a file. */
export class SavedGuest implements AsyncDisposable {
  readonly #guest: CapturedGuest;
  readonly #directory: string;
  readonly #qemus: Qemu[] = [];
  readonly #bytes: Uint8Array<ArrayBuffer>;

  private constructor(guest: CapturedGuest, directory: string) {
    this.#guest = guest;
    this.#directory = directory;
    this.#bytes = Deno.readFileSync(guest.path);
  }

  /**
   * Boots a guest, lets it count, saves and kills it; or takes what was saved so before. The file is
   * this object's own.
   *
   * @param head what is written into the file before the saved guest, once that is there
   */
  static async capture(
    machine: GuestMachine,
    options: CaptureOptions = {},
    head: Uint8Array = new Uint8Array(0),
  ): Promise<SavedGuest> {
    const directory = await Deno.makeTempDir({ prefix: "postcopy-interop-" });
    try {
      const { guest, bytes } = await captured(machine, { ...options, offset: head.length });
      const path = `${directory}/guest`;
      await Deno.writeFile(path, bytes);
      using file = await Deno.open(path, { write: true });
      for (let at = 0; at < head.length;) at += await file.write(head.subarray(at));
      return new SavedGuest({ ...guest, path }, directory);
    } catch (error) {
      await Deno.remove(directory, { recursive: true });
      throw error;
    }
  }

  /** The image file. */
  get path(): string {
    return this.#guest.path;
  }

  /** The bytes of the image as they were when it was saved. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes;
  }

  /**
   * Starts a QEMU that waits for this guest; it ends with this object.
   *
   * @param capabilities which it has on
   * @param difference in what its machine is not the saved one
   * @param prepare what else is set before it listens
   */
  async destination(
    capabilities: Capabilities,
    difference: GuestMachine = {},
    prepare: (qemu: Qemu) => Promise<void> = () => Promise.resolve(),
  ): Promise<WaitingQemu> {
    const qemu = await startGuest({ ...this.#guest.machine, ...difference, incoming: true });
    this.#qemus.push(qemu);
    await setCapabilities(qemu, capabilities);
    await prepare(qemu);
    const uri = `tcp:127.0.0.1:${await listenForMigration(qemu)}`;
    return { qemu, uri, address: parseSocketAddress(uri) };
  }

  /**
   * Starts a QEMU with a monitor of its own that waits for this guest and does not listen yet; it ends with this
   * object.
   *
   * @param difference in what its machine is not the saved one
   */
  async waiting(difference: GuestMachine = {}): Promise<Qemu> {
    const incoming = { incoming: true, monitorSocket: true };
    const qemu = await startGuest({ ...this.#guest.machine, ...incoming, ...difference });
    this.#qemus.push(qemu);
    return qemu;
  }

  /** Sees that a restored guest goes on counting where it stopped, then kills it. */
  async countsOn(qemu: Qemu): Promise<void> {
    // A report of wrong memory is told at once, not after a wait for rounds that never end.
    const wrong = qemu.serial.waitForLine("a report", (text) => text.includes("BAD"));
    const counted = waitForRound(qemu, this.#guest.rounds + ROUNDS_AFTER);
    await Promise.race([counted, wrong.catch(() => {})]);
    await qemu.close();
    const rounds = checkRounds(this.#guest.output + qemu.serial.text);
    const wanted = this.#guest.rounds + ROUNDS_AFTER;
    if (rounds < wanted) throw new Error(`Guest stands still in round ${rounds}, not ${wanted}`);
  }

  /** The marks beside the image, of guests that may run. */
  get marks(): string[] {
    const names = [...Deno.readDirSync(this.#directory)].map(({ name }) => name);
    return names.filter((name) => name.includes(".postcopy-handover-"));
  }

  /** Sees that nobody changed the image. */
  assertUntouched(): void {
    const now = Deno.readFileSync(this.path);
    if (now.length === this.#bytes.length && now.every((byte, i) => byte === this.#bytes[i])) {
      return;
    }
    throw new Error(`Image was changed: ${this.path}`);
  }

  /** Ends its QEMUs and removes the image. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const qemu of this.#qemus) await qemu.close();
    await Deno.remove(this.#directory, { recursive: true });
  }
}
