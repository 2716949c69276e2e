/**
 * Child process: a destination of ours with a guest that rests, whatever machine it was.
 *
 * Argument: {@linkcode OurDestinationSetup} as JSON. First line out: `{"address":...}`; after the migration
 * `{"cpu":...}`, its CPU seconds from listening to the last page; then each line in is answered with the digest of
 * the memory. Ends with its standard input.
 *
 * @module
 */

import { Destination } from "../../client/destination.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import type { GuestMemory } from "../../migration/guest.ts";
import { answerLines, say } from "../support/bench_process.ts";
import { cpuSeconds } from "../support/cpu_time.ts";
import { MemoryDigest } from "./content.ts";

/** What to expect. */
export interface OurDestinationSetup {
  /** Where to listen. */
  readonly host: string;
  readonly channels: number;
  /** Where the guest's memory begins in the largest block, bytes. */
  readonly start: number;
  /** Bytes of it. */
  readonly size: number;
}

const PIECE = 1 << 26;

if (import.meta.main) {
  const { host, channels, start, size } = JSON.parse(Deno.args[0]!) as OurDestinationSetup;
  let memory: GuestMemory | undefined;
  await using destination = new Destination({
    guest: { load: (_, loaded) => void (memory = loaded), start() {}, stop() {} },
    multifdChannels: channels,
  });
  const address = await destination.listen({ transport: "tcp", host, port: 0 });
  const before = await cpuSeconds(Deno.pid);
  say({ address: formatSocketAddress(address) });
  await destination.finished;
  say({ cpu: await cpuSeconds(Deno.pid) - before });
  await answerLines(() => {
    const blocks = memory!.blocks.toSorted((a, b) => b.length - a.length);
    const digest = new MemoryDigest();
    for (let at = 0; at < size; at += PIECE) {
      digest.add(viewMemory(blocks[0]!.address + start + at, Math.min(PIECE, size - at)));
    }
    return Promise.resolve({ digest: digest.end() });
  });
}
