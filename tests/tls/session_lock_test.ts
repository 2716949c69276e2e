import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { LOCK_WORDS, SessionLock } from "../../ffi/tls/session_lock.ts";
import { TlsError } from "../../ffi/tls/tls_error.ts";

function words(): Int32Array<ArrayBuffer> {
  return new Int32Array(new ArrayBuffer(LOCK_WORDS * 4));
}

Deno.test("SessionLock is taken again and again, past the end of its counters", () => {
  const memory = words();
  memory.fill(0x7fff_ffff, 0, 2);
  const lock = new SessionLock(memory, 1);
  for (let time = 0; time < 3; time++) {
    lock.acquire();
    lock.release();
  }
});

Deno.test("SessionLock fails whoever waits for a thread that has died, and all who come later at once", () => {
  const memory = words();
  new SessionLock(memory).acquire(); // and the thread ends here
  const waiting = new SessionLock(memory, 1);
  const begun = performance.now();
  assertInstanceOf(assertThrows(() => waiting.acquire()), TlsError);
  assertEquals(performance.now() - begun >= 900, true, "It gave up without waiting");
  // With the patience of a session this would take longer than the test may.
  assertThrows(() => new SessionLock(memory, 1e9).acquire());
});
