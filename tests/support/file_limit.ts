/** A disk that is full, as far as one process can see. */

/**
 * Limits the size of the files that a process may write, by util-linux's prlimit; the limit can be raised again.
 *
 * @param bytes of a file at the most
 * @param pid the process; default this one
 */
export function limitFiles(bytes: number | "unlimited", pid: number = Deno.pid): void {
  const args = ["--pid", `${pid}`, `--fsize=${bytes}:`];
  const { success, stderr } = new Deno.Command("prlimit", { args }).outputSync();
  if (!success) throw new Error(new TextDecoder().decode(stderr));
}
