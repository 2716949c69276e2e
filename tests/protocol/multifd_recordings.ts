/** Recordings of QEMUs that migrated with multifd, and what they say was received. */

import { findRecording } from "../../tools/recordings.ts";
import { readRecording } from "../support/fixtures.ts";

/** Recordings of two channels each. */
export const MULTIFD_WIRES: readonly string[] = ["none", "zlib", "zstd"].flatMap((method) =>
  ["72", "111"].map((version) => `multifd-${method}-qemu${version}`)
);

/** What a recorded source sent. */
export interface MultifdRecording {
  readonly main: Uint8Array;
  /** In the order in which they connected. */
  readonly channels: readonly Uint8Array[];
  /** SHA-256 of each block, by its name, as the recorder's destination had it: the source's memory. */
  readonly sums: Readonly<Record<string, string>>;
}

/** Reads one; say `needsRecording` of the directory first. */
export function readMultifd(directory: string): MultifdRecording {
  const connections = [0, 1, 2].map((index) => readRecording(`${directory}/conn${index}.s2d.zst`));
  const isMain = (bytes: Uint8Array) => bytes[0] === 0x51;
  const events = Deno.readTextFileSync(findRecording(`${directory}/events.txt`)!);
  const text = /sha256 per block as received: (\{.*\})/.exec(events)![1]!;
  return {
    main: connections.find(isMain)!,
    channels: connections.filter((bytes) => !isMain(bytes)),
    sums: JSON.parse(text.replaceAll("'", '"')),
  };
}

/** SHA-256 in hexadecimal digits. */
export async function sum(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return digest.toHex();
}
