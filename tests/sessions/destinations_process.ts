// deno-lint-ignore-file no-console -- a command
/**
 * Child process: some destinations on one pool, each of which compares its guest with the image's bytes.
 * Prints JSON, a line a step. Arguments: how many, how many pages, and the image's file.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { Destination } from "../../client/destination.ts";
import { viewMemory } from "../../ffi/memory.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

/** What the process prints. */
export type DestinationsStep =
  | { readonly step: "listening"; readonly addresses: readonly SocketAddress[] }
  | { readonly step: "connected" | "running"; readonly index: number }
  /** `wrong`: whether a byte differs. */
  | { readonly step: "completed"; readonly index: number; readonly wrong: boolean }
  | { readonly step: "lost"; readonly index: number; readonly reason: string };

const [count, path] = [Number(Deno.args[0]), Deno.args[1]!];
const content = Deno.readFileSync(path);
const say = (step: DestinationsStep) => console.log(JSON.stringify(step));
const pool = new ThreadPool({ urgentThreads: 1, bulkThreads: 1 });

async function one(index: number): Promise<SocketAddress> {
  const guest = new StillGuest();
  const destination = new Destination({ guest, pool });
  const address = await destination.listen(LOOPBACK);
  const lost = ({ message }: Error) => say({ step: "lost", index, reason: message });
  destination.waitFor("active").then(() => say({ step: "connected", index }), () => {});
  destination.waitFor("postcopy-active").then(() => say({ step: "running", index }), () => {});
  destination.waitFor("postcopy-paused").then(() => lost(destination.pauseReason!), () => {});
  destination.finished.then(async () => {
    const [block] = guest.blocks;
    const wrong = Buffer.compare(content, viewMemory(block!.address, block!.length)) !== 0;
    say({ step: "completed", index, wrong });
    await destination.close();
  }, lost);
  return address;
}

const addresses = await Promise.all(Array.from({ length: count }, (_, index) => one(index)));
say({ step: "listening", addresses });
setInterval(() => {}, 1 << 30); // ended by a signal
