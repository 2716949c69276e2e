/** The file descriptors of a process, to find those that were left open. */

import { assertEquals } from "@std/assert";
import { until } from "./deadline.ts";

/** Kinds of descriptor that this project opens; Deno's own (epoll, pipes, files) come and go. */
const OURS =
  /^(?:socket:|anon_inode:(?:\[(?:userfaultfd|eventfd)\]|kvm-)|\/memfd:|\/proc\/\d+\/pagemap$|\/dev\/kvm$)/;

/** Does something while a worker is there: those that ended before leave nothing from its begin on. */
async function besideWorker<T>(act: () => T): Promise<T> {
  const worker = new Worker("data:text/javascript,postMessage(0)", { type: "module" });
  try {
    await new Promise((resolve) => worker.onmessage = resolve);
    return act();
  } finally {
    worker.terminate();
  }
}

// The first worker opens descriptors that Deno keeps for the life of the process.
await besideWorker(() => {});

/** Returns how many descriptors of each of our kinds are open, for example `"socket"` to 2. */
export function openDescriptors(): Record<string, number> {
  return countKinds(readLinks());
}

/** What each descriptor is, by its number. */
function readLinks(): Map<string, string> {
  const links = new Map<string, string>();
  for (const { name } of Deno.readDirSync("/proc/self/fd")) {
    try {
      links.set(name, Deno.readLinkSync(`/proc/self/fd/${name}`));
    } catch {
      // The directory's own, closed by now.
    }
  }
  return links;
}

function countKinds(links: ReadonlyMap<string, string>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const link of links.values()) {
    if (!OURS.test(link)) continue;
    const kind = link.replace(/:\[\d+\]$/, "").replace(/^\/memfd:.*/, "memfd");
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
}

const EPOLL = "anon_inode:[eventpoll]";
/** A descriptor in an epoll that is told of edges alone (EPOLLET), as Deno watches its own and we none. */
const WATCHED_BY_DENO = /^tfd: +(\d+) events: +[89a-f][0-9a-f]{7} /gm;

/**
 * Counts what a test may have opened, without what Deno watches itself: its own sockets, which it counts too, and
 * what its workers have, of which one that has ended leaves something until the next begins.
 */
function descriptorsOfTests(): Record<string, number> {
  const links = readLinks();
  for (const [name, link] of links) {
    if (link !== EPOLL) continue;
    try {
      const entries = Deno.readTextFileSync(`/proc/self/fdinfo/${name}`);
      for (const [, watched] of entries.matchAll(WATCHED_BY_DENO)) links.delete(watched!);
    } catch {
      // Closed by now, with all that it watched.
    }
  }
  return countKinds(links);
}

/** Runs a test and sees that it leaves no descriptor open. */
export function leavingNoDescriptors(test: () => Promise<void>): () => Promise<void> {
  return async () => {
    const before = descriptorsOfTests();
    await test();
    // What was open before may be gone: an ended worker of the test before lets go late, as does one
    // of this test.
    const left = () =>
      Object.fromEntries(
        Object.entries(descriptorsOfTests()).filter(([kind, count]) => count > (before[kind] ?? 0)),
      );
    // Not looked at again once nothing was left: a worker that ends just now has its own watched no more. One
    // that ended before the first look has what it left taken away by the next.
    let found = left();
    const clean = async (): Promise<boolean> => {
      if (Object.keys(found).length > 0) found = await besideWorker(left);
      return Object.keys(found).length === 0;
    };
    await until("no descriptor left open", clean).catch(() => {});
    assertEquals(found, {});
  };
}
