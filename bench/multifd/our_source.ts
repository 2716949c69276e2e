/**
 * Child process: a source of ours, of a guest that runs in it or of an image.
 *
 * Argument: {@linkcode OurSourceSetup} as JSON. First line out: `{"ready":true}`, once the memory is there; then
 * each line in is a question: an address is moved to, and answered with the {@linkcode Departure}; `"digest"` with
 * that of the memory. Ends with its standard input.
 *
 * @module
 */

import { parseSocketAddress } from "../../ffi/socket_address.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { openImage } from "../../image/open_image.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import type { MultifdOptions } from "../../server/multifd/multifd_settings.ts";
import { Source } from "../../server/source.ts";
import type { SourceStatistics } from "../../server/outgoing/statistics.ts";
import { answerLines, say } from "../support/bench_process.ts";
import { MemoryDigest } from "./content.ts";
import type { Departure } from "./ends.ts";
import { WriterThread } from "./writer_thread.ts";

/** What to move, and how. */
export interface OurSourceSetup {
  /** File of the guest's memory, for a guest that runs; or an image. */
  readonly content?: string;
  readonly image?: string;
  /** Bytes of the memory. */
  readonly size: number;
  /** Pages that the guest writes a second. */
  readonly rate: number;
  readonly multifd: MultifdOptions;
}

const PIECE = 1 << 26;

function fill(memory: Uint8Array, path: string): void {
  using file = Deno.openSync(path);
  for (let at = 0; at < memory.length;) {
    const count = file.readSync(memory.subarray(at, at + PIECE));
    if (count === null) throw new Error(`Content is shorter than the memory: ${path}`);
    at += count;
  }
}

function departure(statistics: SourceStatistics): Departure {
  return {
    milliseconds: statistics["total-time"] - statistics["setup-time"],
    transferred: statistics.ram.transferred,
  };
}

async function serveImage({ image: path, multifd }: OurSourceSetup): Promise<void> {
  using image = await openImage(path!);
  say({ ready: true });
  await answerLines(async (to) => {
    await using source = new Source(image, { to: parseSocketAddress(to as string), multifd });
    return departure(await source.run());
  });
}

async function runGuest({ content, size, rate, multifd }: OurSourceSetup): Promise<void> {
  using region = new LiveRegion({ blocks: [{ name: "memory", length: size }] });
  const { address, length } = region.blocks[0]!;
  fill(viewMemory(address, length), content!);
  await using writer = await WriterThread.start({ address, length, rate });
  say({ ready: true });
  await answerLines(async (message): Promise<unknown> => {
    if (message === "digest") {
      const digest = new MemoryDigest();
      for (let at = 0; at < length; at += PIECE) {
        digest.add(viewMemory(address + at, Math.min(PIECE, length - at)));
      }
      return { digest: digest.end() };
    }
    const to = parseSocketAddress(message as string);
    await using source = new LiveSource(region, writer, { to, multifd, postcopy: "never" });
    const before = writer.written;
    const figures = departure(await source.run());
    if (rate === 0) return figures;
    const { pages, at } = writer.written;
    return { ...figures, written: (pages - before.pages) / (at - before.at) * 1000 };
  });
}

if (import.meta.main) {
  const setup = JSON.parse(Deno.args[0]!) as OurSourceSetup;
  await (setup.image === undefined ? runGuest(setup) : serveImage(setup));
}
