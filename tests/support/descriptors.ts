/** The file descriptors of a process, to find those that were left open. */

import { assertEquals } from "@std/assert";
import { until } from "./deadline.ts";

/** Kinds of descriptor that this project opens; Deno's own (epoll, pipes, files) come and go. */
const OURS =
  /^(?:socket:|anon_inode:(?:\[(?:userfaultfd|eventfd)\]|kvm-)|\/memfd:|\/proc\/\d+\/pagemap$|\/dev\/kvm$)/;

// The first worker opens descriptors that Deno keeps for the life of the process.
await new Promise<void>((resolve) => {
  const worker = new Worker("data:text/javascript,postMessage(0)", { type: "module" });
  worker.onmessage = () => {
    worker.terminate();
    resolve();
  };
});

/** Returns how many descriptors of each of our kinds are open, for example `"socket"` to 2. */
export function openDescriptors(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    let link: string;
    try {
      link = Deno.readLinkSync(`/proc/self/fd/${name}`);
    } catch {
      continue; // the directory's own, closed by now
    }
    if (!OURS.test(link)) continue;
    const kind = link.replace(/:\[\d+\]$/, "").replace(/^\/memfd:.*/, "memfd");
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

/** Runs a test and sees that it leaves no descriptor open. */
export function leavingNoDescriptors(test: () => Promise<void>): () => Promise<void> {
  return async () => {
    const before = openDescriptors();
    await test();
    // What was open before may be gone: an ended worker of the test before lets go late, as does one
    // of this test.
    const left = () =>
      Object.fromEntries(
        Object.entries(openDescriptors()).filter(([kind, count]) => count > (before[kind] ?? 0)),
      );
    await until("no descriptor left open", () => Object.keys(left()).length === 0).catch(
      () => {},
    );
    assertEquals(left(), {});
  };
}
