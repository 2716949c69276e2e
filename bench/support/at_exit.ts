/** What must not outlive a benchmark: child processes and network namespaces. */

/** How a process ends by itself: an error that nobody caught raises no `unload`. */
const EVENTS = ["unload", "error", "unhandledrejection"] as const;
const SIGNALS = ["SIGINT", "SIGTERM"] as const;

const cleanups = new Set<() => void>();

function cleanUp(): void {
  for (const cleanup of [...cleanups].reverse()) cleanup();
  cleanups.clear();
}

function onSignal(): void {
  cleanUp();
  Deno.exit(130);
}

function listen(): void {
  for (const event of EVENTS) globalThis.addEventListener(event, cleanUp);
  for (const signal of SIGNALS) Deno.addSignalListener(signal, onSignal);
}

function unlisten(): void {
  for (const event of EVENTS) globalThis.removeEventListener(event, cleanUp);
  for (const signal of SIGNALS) Deno.removeSignalListener(signal, onSignal);
}

/**
 * Runs something when this process ends in any way but SIGKILL, newest first. While anything is
 * registered, SIGINT and SIGTERM end the process with code 130 after it has run.
 *
 * @param cleanup synchronous, because nothing is awaited at the end of a process
 * @returns takes it back, without running it
 */
export function atExit(cleanup: () => void): () => void {
  if (cleanups.size === 0) listen();
  cleanups.add(cleanup);
  return () => {
    if (cleanups.delete(cleanup) && cleanups.size === 0) unlisten();
  };
}
