import { zstdDecompressSync } from "node:zlib";
import { recordings } from "./skip.ts";

/**
 * A recording of real QEMU, decompressed. Say {@linkcode needsRecording} of the same path first.
 *
 * @param path Below {@linkcode recordings}, with `.zst`.
 */
export function readRecording(path: string): Uint8Array {
  return zstdDecompressSync(Deno.readFileSync(new URL(path, recordings)));
}
