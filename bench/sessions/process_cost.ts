/** What a running process costs, from /proc: looking does not wake it. */

/** Memory of a process, bytes. */
export interface ProcessMemory {
  /** Its share of the pages that it has, those of files that others map too divided among them. */
  readonly pss: number;
  /** All pages that it has. */
  readonly rss: number;
}

/** Reads a line `Name:  N` of a file of /proc. */
function field(text: string, name: string): number {
  const found = new RegExp(`^${name}:\\s*(\\d+)`, "m").exec(text);
  if (found === null) throw new Error(`No line in a file of /proc: ${name}`);
  return Number(found[1]);
}

/** Sums a figure over the threads of a process; one that has just ended counts for nothing. */
async function overThreads(
  pid: number,
  file: string,
  read: (text: string) => number,
): Promise<number> {
  let sum = 0;
  for await (const { name } of Deno.readDir(`/proc/${pid}/task`)) {
    try {
      sum += read(await Deno.readTextFile(`/proc/${pid}/task/${name}/${file}`));
    } catch (error) {
      const gone = error instanceof Deno.errors.NotFound ||
        (error as { code?: string }).code === "ESRCH";
      if (!gone) throw error;
    }
  }
  return sum;
}

/** Returns the memory of a process. */
export async function memoryOf(pid: number): Promise<ProcessMemory> {
  const text = await Deno.readTextFile(`/proc/${pid}/smaps_rollup`);
  return { pss: field(text, "Pss") * 1024, rss: field(text, "Rss") * 1024 };
}

/** Returns the bytes of shared memory, memfds for example, that a process has touched or got. */
export async function sharedBytesOf(pid: number): Promise<number> {
  return field(await Deno.readTextFile(`/proc/${pid}/status`), "RssShmem") * 1024;
}

/** Returns how many threads a process has. */
export async function threadsOf(pid: number): Promise<number> {
  return field(await Deno.readTextFile(`/proc/${pid}/status`), "Threads");
}

/** Returns how many descriptors a process has open. */
export async function descriptorsOf(pid: number): Promise<number> {
  return (await Array.fromAsync(Deno.readDir(`/proc/${pid}/fd`))).length;
}

/** Returns how often threads of a process have stopped running so far: it got up as often. */
export function switchesOf(pid: number): Promise<number> {
  return overThreads(
    pid,
    "status",
    (text) => field(text, "voluntary_ctxt_switches") + field(text, "nonvoluntary_ctxt_switches"),
  );
}

/** Returns the nanoseconds that the threads of a process which live now have run so far. */
export function cpuNanosecondsOf(pid: number): Promise<number> {
  return overThreads(pid, "schedstat", (text) => Number(text.split(" ")[0]));
}

/** Returns the limit of descriptors that a process has. */
export async function descriptorLimitOf(pid: number | "self"): Promise<number> {
  const text = await Deno.readTextFile(`/proc/${pid}/limits`);
  const found = /^Max open files\s+(\d+|unlimited)/m.exec(text)?.[1];
  return found === undefined || found === "unlimited" ? Infinity : Number(found);
}
