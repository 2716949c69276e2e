/** Opens the native libraries outside of any test, where the resource sanitizer takes them for leaks. */

import { CODEC_LIBRARIES } from "../../ffi/compression/codec.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { libc } from "../../ffi/libc.ts";
import { openSsl } from "../../ffi/tls/libssl.ts";

libc();
// The threads of the shared pool end with the last session, so that each test ends those that it began.
ThreadPool.shared.linger = 0;
for (const open of [openSsl, ...Object.values(CODEC_LIBRARIES).flat().map(({ open }) => open)]) {
  try {
    open();
  } catch {
    // Not on this host: the tests of it say so.
  }
}
