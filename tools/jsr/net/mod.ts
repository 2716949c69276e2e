/**
 * Stand-in for `@std/net`: the functions this project uses, with the same signatures.
 *
 * @module
 */

/** Options for {@linkcode getAvailablePort}. */
export interface GetAvailablePortOptions {
  /** Port taken when it is free; 0 lets the system choose. */
  preferredPort?: number;
}

/**
 * Returns a TCP port on which nothing listens at the moment.
 *
 * @param options Which port to try first.
 * @returns The port's number.
 */
export function getAvailablePort(options?: GetAvailablePortOptions): number {
  const preferred = options?.preferredPort ?? 0;
  try {
    return freePort(preferred);
  } catch (error) {
    if (preferred === 0 || !(error instanceof Deno.errors.AddrInUse)) throw error;
    return freePort(0);
  }
}

function freePort(port: number): number {
  using listener = Deno.listen({ port });
  return listener.addr.port;
}
