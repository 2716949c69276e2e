/** What the sessions of this process take of it. */

/** Threads of this process that run a worker: Deno's own come and go. */
export function threads(): number {
  const names = [...Deno.readDirSync("/proc/self/task")].map(({ name }) => {
    try {
      return Deno.readTextFileSync(`/proc/self/task/${name}/comm`);
    } catch {
      return ""; // gone by now
    }
  });
  return names.filter((name) => name.startsWith("worker-")).length;
}

/**
 * Bytes of this process that are mapped for guests, and to receive into: no huge page may come there. The
 * same is said of the stacks of threads, which come and go: those have a guard below.
 */
export function mapped(): number {
  let bytes = 0;
  let [end, size] = [0, 0];
  let [guard, guarded] = [false, false];
  for (const line of Deno.readTextFileSync("/proc/self/smaps").split("\n")) {
    const range = /^([0-9a-f]+)-([0-9a-f]+) (....)/.exec(line);
    if (range !== null) {
      const start = parseInt(range[1]!, 16);
      guarded = guard && start === end;
      guard = range[3] === "---p";
      end = parseInt(range[2]!, 16);
      size = end - start;
    } else if (line.startsWith("VmFlags:") && line.includes(" nh") && !guarded) {
      bytes += size;
    }
  }
  return bytes;
}
