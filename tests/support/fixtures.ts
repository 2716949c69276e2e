import { zstdDecompressSync } from "node:zlib";
import { findRecording } from "../../tools/recordings.ts";

/**
 * A recording of real QEMU, decompressed. Say {@linkcode needsRecording} of the same path first.
 *
 * @param path Such as `capture-qemu72.bin.zst`.
 */
export function readRecording(path: string): Uint8Array {
  const url = findRecording(path);
  if (url === undefined) throw new Error(`No such recording: ${path}`);
  return zstdDecompressSync(Deno.readFileSync(url));
}
