/** A guest whose memory is written all the time, and what migrates it. */

import { parseSocketAddress } from "../../ffi/socket_address.ts";
import type { CompressionSettings } from "../../server/compression/compression_settings.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { LiveRegion } from "../../server/live/live_region.ts";
import { LiveSource } from "../../server/live/live_source.ts";
import { liveBlockSizes } from "../../workload/blocks.ts";
import { LiveWorkload } from "../../workload/live_workload.ts";
import { type ThreadingModel, withSettings } from "./threading_model.ts";

/** A guest, and what its migration must keep to. */
export interface WriteSetup {
  /** Bytes of the guest's memory, without a zero page. */
  readonly size: number;
  /** How often the words of a page repeat: it compresses to about this part. */
  readonly repeats: number;
  /** Threads that write. */
  readonly writers: number;
  /** Pages that they write a second, all together, in random order. */
  readonly rate: number;
  /** Milliseconds for which they write first: the threads of either model load meanwhile. */
  readonly warmUp: number;
  /** Bytes a second of precopy; 0 for no limit. */
  readonly maxBandwidth: number;
  /** Milliseconds that the guest may stand still. */
  readonly downtimeLimit: number;
}

/** What to migrate, and how. */
export interface CompressSetup extends WriteSetup {
  /** The destination's address. */
  readonly to: string;
  /** Whose threads compress. */
  readonly model: ThreadingModel;
  /** How they do. */
  readonly compress: CompressionSettings;
}

const REFERENCE = new URL("./reference_precopy_worker.ts", import.meta.url);

/** A guest that runs in this process, and its migration. */
export class WrittenGuest implements AsyncDisposable {
  /** The guest. */
  readonly guest: LiveWorkload;
  /** Its migration, not begun. */
  readonly source: LiveSource;
  readonly #region: LiveRegion;
  // The reference's compression threads are of its precopy thread, which serves one migration.
  readonly #pool = new ThreadPool();

  private constructor(setup: CompressSetup) {
    const { compress, model, size, writers, maxBandwidth, downtimeLimit } = setup;
    const blocks = liveBlockSizes(size, 4096);
    this.#region = new LiveRegion({ blocks, machine: "postcopy-workload" });
    this.guest = new LiveWorkload(this.#region.blocks, {
      threads: writers,
      rate: Math.max(1, Math.round(setup.rate / writers)),
      repeats: setup.repeats,
      zeroEvery: 0,
      samples: 0,
    });
    const to = parseSocketAddress(setup.to);
    const pool = this.#pool;
    const options = { to, postcopy: "never", maxBandwidth, downtimeLimit, compress, pool } as const;
    this.source = model === "before"
      ? new LiveSource(this.#region, this.guest, options, withSettings(REFERENCE, compress))
      : new LiveSource(this.#region, this.guest, options);
  }

  /** Starts the guest, and lets it write for a while. */
  static async start(setup: CompressSetup): Promise<WrittenGuest> {
    const started = new WrittenGuest(setup);
    await started.guest.start();
    await new Promise((resolve) => setTimeout(resolve, setup.warmUp));
    return started;
  }

  /** Pages that the guest has written so far. */
  get written(): number {
    return this.guest.statistics().accesses;
  }

  /** Ends both. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.source.close();
    await this.guest.close();
    this.#region.close();
    await this.#pool.close();
  }
}
