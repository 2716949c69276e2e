import { assertEquals, assertThrows } from "@std/assert";
import { DEFAULT_STALL_TIMEOUT } from "../../ffi/peer_watch.ts";
import { UsageError } from "../../migration/command/arguments.ts";
import { stallTimeoutArgument } from "../../migration/command/stall_timeout.ts";

Deno.test("stallTimeoutArgument takes seconds, and by default what every socket has", () => {
  assertEquals(stallTimeoutArgument(undefined), DEFAULT_STALL_TIMEOUT);
  assertEquals(stallTimeoutArgument("0.5"), 500);
  assertEquals(stallTimeoutArgument("86400"), 86_400_000);
});

Deno.test("stallTimeoutArgument refuses 0, and says what to write for as good as never", () => {
  for (const text of ["0", "0.0"]) {
    assertThrows(
      () => stallTimeoutArgument(text),
      UsageError,
      `No time to wait: --stall-timeout ${text}: a peer that is gone without a word would never be ` +
        "noticed, or at once: write seconds above 0, 86400 for a day",
    );
  }
  for (const text of ["", "x", "-1", "86401", "Infinity"]) {
    assertThrows(() => stallTimeoutArgument(text), UsageError, `after --stall-timeout: ${text}`);
  }
});
