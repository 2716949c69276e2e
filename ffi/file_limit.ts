/** The limit on the size of files (`ulimit -f`), as an error instead of the end of the process. */

/**
 * Until it is disposed of, a write beyond the limit fails with `EFBIG`; else the kernel ends a process
 * that tries (SIGXFSZ).
 */
export function survivingFileLimit(): Disposable {
  const ignore = () => {};
  Deno.addSignalListener("SIGXFSZ", ignore);
  return { [Symbol.dispose]: () => Deno.removeSignalListener("SIGXFSZ", ignore) };
}
