/** A port of the loopback for somebody who cannot be asked which one he got. */

/**
 * Ports below those that Linux gives to who asks for none (32768 and above, ip(7)): none of the many
 * connections of tests that run meanwhile is given one of these.
 */
const [FIRST, LAST] = [10_000, 32_767];

/** Returns a port on which nobody listens; somebody else may take it before it is used. */
export function freePort(): number {
  while (true) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST + 1));
    try {
      using _listener = Deno.listen({ hostname: "127.0.0.1", port });
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
}
