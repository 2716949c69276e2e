/** Opens the native libraries outside of any test, where the resource sanitizer takes them for leaks. */

import { CODEC_LIBRARIES } from "../../ffi/compression/codec.ts";
import { libc } from "../../ffi/libc.ts";

libc();
for (const { open } of Object.values(CODEC_LIBRARIES).flat()) {
  try {
    open();
  } catch {
    // Not on this host: the tests of it say so.
  }
}
