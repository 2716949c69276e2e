/** What to do about a migration that failed, before and after the machine ran. */

import { MigrationError } from "../../migration/migration_error.ts";
import type { BlockEntry } from "../../migration/protocol/ram.ts";
import { WorkerThreadError } from "../../migration/threads/failure.ts";
import type { CompressionOptions } from "../compression/compression_settings.ts";
import type { MultifdOptions } from "../multifd/multifd_settings.ts";
import type { OutgoingOptions } from "./outgoing_options.ts";
import { machineVersion } from "./machine_type.ts";
import type { Mode } from "../sending/mode.ts";

/**
 * Adds to an error what a destination needs: one that refuses a machine mostly just goes away, or
 * waits for ever, and says why only in its own log.
 *
 * @param error why the migration failed, before the destination had loaded the device state
 * @param machine the image's machine type
 * @param options how it was migrated, with the mode that was used
 * @param refused the blocks of a destination that was there and went away when it was told of them; undefined
 * for any other
 * @returns an error with the same code; the error itself when it says all there is to say
 */
export function withAdvice(
  error: unknown,
  machine: string,
  { mode, compress, multifd, tls }: AdvisedOptions,
  refused?: readonly BlockEntry[],
): unknown {
  if (!(error instanceof MigrationError) || !ADVISED.has(error.code)) return error;
  const preempt = mode === "vanilla" ? "postcopy-preempt off" : "postcopy-preempt on";
  const capabilities = multifd === undefined
    ? `the capabilities postcopy-ram on, ${preempt}${
      takenByQemu(mode, compress) ? ", compress on (QEMU 7.2 to 9.0 has it)" : ""
    }`
    : channelsThere(multifd, machine);
  return extended(
    error,
    "the machine did not start (if its guest was paused there since another source ended, --recover goes on with " +
      "it): look into the destination's log, and see that it " +
      `has machine type ${machine}, the same memory and devices, and ${capabilities}${
        refused === undefined ? "" : pageSizes(refused)
      }${tls === undefined && refused === undefined ? IN_CLEAR : ""}`,
  );
}

/** What is looked at of the options. */
type AdvisedOptions =
  & Pick<OutgoingOptions, "compress" | "multifd" | "tls">
  & { readonly mode: Mode };

/** What a destination must have for multifd: it goes away without a word when one of it differs. */
function channelsThere(
  { channels, compression = "none", uuid, flushAfterEachSection }: MultifdOptions,
  machine: string,
): string {
  const unsaid = flushAfterEachSection === undefined && machineVersion(machine) === undefined;
  return `the capability multifd on, with multifd-channels ${channels}, multifd-compression ${compression} ` +
    `and ${
      uuid === undefined ? "its -uuid as the image says, or none (--multifd-uuid)" : `-uuid ${uuid}`
    } (a destination of ours: --multifd ${channels})${
      unsaid ? "; if it is a QEMU up to 8.0, give --multifd-flush-after-each-section on here" : ""
    }`;
}

/** What nobody may have thought of. */
const IN_CLEAR = "; if its connections are encrypted (tls-creds), give --tls-creds here";

/** What a QEMU compares with the page sizes of its own blocks, and refuses when it differs. */
function pageSizes(blocks: readonly BlockEntry[]): string {
  const huge = blocks.filter(({ pageSize }) => pageSize !== undefined).map(({ name }) => name);
  if (huge.length > 0) {
    return `, and huge pages for these blocks alone, as --huge-pages names them: ${
      huge.join(", ")
    }`;
  }
  const largest = blocks.reduce((most, block) => block.usedLength > most.usedLength ? block : most);
  const gigantic = largest.usedLength % 2 ** 30 === 0 ? ` (1 GiB: ${largest.name}=1G)` : "";
  return `; if its memory is in huge pages, say so: --huge-pages ${largest.name}${gigantic}`;
}

/** Whether a QEMU may be at the other end: it takes nothing else compressed. */
function takenByQemu(mode: Mode, compress: CompressionOptions | undefined): boolean {
  return compress?.method === "zlib" && mode === "vanilla";
}

const ADVISED = new Set<string>(["CONNECTION_LOST", "PEER_FAILED", "STALLED"]);

/** How the owner of a source has the same image served again, as advice in the middle of a sentence. */
export interface ServedAgain {
  /** To a destination that is paused and listens. */
  readonly recover: string;
  /** From the start. */
  readonly startAnew: string;
}

/** In the words of `serve`. */
export const BY_SERVE: ServedAgain = {
  recover: "serve the same image with --recover",
  startAnew: "serve it with --start-anew",
};

/**
 * Says what became of a guest that ran before its migration ended, and how it goes on.
 *
 * @param missing pages that were not sent; more may have been lost on the way
 * @param again how its image is served again
 */
export function lossOf(missing: number, again: ServedAgain = BY_SERVE): string {
  const { recover, startAnew } = again;
  if (missing === 0) {
    return "the guest ran at the destination already, and every page was sent: ask the destination " +
      "(info migrate) before you do anything: it may be complete; if it is postcopy-paused, have it " +
      `listen (migrate_recover tcp:0.0.0.0:PORT) and ${recover}`;
  }
  return `the guest ran at the destination already and lacks at least ${missing} pages there, which the ` +
    "image has: do not end it there: have it listen (migrate_recover tcp:0.0.0.0:PORT) and " +
    `${recover}; only when it is gone, put the disks back to the snapshot that belongs ` +
    `to the image, and ${startAnew}`;
}

/** Adds {@linkcode lossOf} to an error; errors of another kind stay as they are. */
export function withLoss(error: unknown, missing: number, again?: ServedAgain): unknown {
  return extended(error, lossOf(missing, again));
}

/** Adds to an error of a live migration that nothing is lost; errors of another kind stay as they are. */
export function goesOn(error: unknown): unknown {
  return extended(error, "the guest goes on here");
}

/**
 * Adds to an error of a live migration what became of a guest that ran at the destination already.
 *
 * @param missing pages that were not sent; more may have been lost on the way
 */
export function ranThere(error: unknown, missing: number): unknown {
  return extended(
    error,
    missing === 0
      ? "the guest was loaded at the destination, with all its memory sent: see whether it runs there"
      : `the guest was loaded at the destination already and lacks at least ${missing} pages there: ` +
        "it stays stopped here, its memory as it was at the stop",
  );
}

/** Adds to an error of a live migration that the destination could not be asked where the guest runs. */
export function undecided(error: unknown): unknown {
  return extended(
    error,
    "nobody can say whether the guest runs at the destination: it stays stopped here, its memory as it " +
      "was at the stop: look there, and let it go on here only if it does not run there",
  );
}

/** The error for a guest that was to go on here after a failed migration, and cannot. */
export function cannotGoOn(error: unknown, cause: unknown): MigrationError {
  const message = (thrown: unknown): string =>
    thrown instanceof Error ? thrown.message : String(thrown);
  return new MigrationError(
    "GUEST_FAILED",
    `${message(error)}: the guest cannot go on here either: ${message(cause)}`,
    { cause: new AggregateError([error, cause]) },
  );
}

/** What a thread of ours failed of is told like a migration's own failure: an owner must know of the guest. */
function extended(error: unknown, what: string): unknown {
  if (error instanceof WorkerThreadError) {
    const { name, code, stack } = error;
    return new WorkerThreadError({ name, code, message: `${error.message}: ${what}`, stack });
  }
  if (!(error instanceof MigrationError)) return error;
  return new MigrationError(error.code, `${error.message}: ${what}`, { cause: error });
}
