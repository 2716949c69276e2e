// deno-lint-ignore-file no-console -- a command
/**
 * Child process: a migration to a guest that reads all its memory on the main thread, whose event loop
 * stands still meanwhile. A page that is not served would hold this process for good: whoever starts
 * it ends it. Prints JSON, a line a step; console.log writes before it returns. Argument:
 * {@linkcode StandingOptions} as JSON.
 *
 * @module
 */

import { assertEachPageOnce, migrate, type MigrateOptions } from "../support/migrate.ts";
import { TestImage } from "../support/images.ts";
import { StillGuest } from "../support/still_guest.ts";

/** How to migrate. */
export interface StandingOptions extends Pick<MigrateOptions, "mode" | "compress"> {
  /** Bytes a second of the background stream; default no limit. */
  readonly maxPostcopyBandwidth?: number;
  /** How well the pages compress; see {@linkcode TestImage.make}. */
  readonly repeats?: number;
}

/** What the process prints: its steps in this order. */
export type StandingStep =
  /** From here to the next step pages are read, this one first. */
  | { readonly step: "reading"; readonly page: number }
  /** All were. */
  | { readonly step: "read"; readonly wrong: number }
  /** The migration is complete, and all memory is as in the image. */
  | { readonly step: "completed"; readonly requests: number };

/** Pages of the guest. */
export const STANDING_PAGES = 512;
/** Pages read from one step to the next. */
export const STANDING_STRIDE = 32;

const say = (step: StandingStep) => console.log(JSON.stringify(step));

async function run({ repeats = 1, ...how }: StandingOptions): Promise<void> {
  using image = await TestImage.make({ ram: STANDING_PAGES }, { repeats });
  const file = new Int32Array(Deno.readFileSync(image.path).buffer);
  const guest = new StillGuest((guest) => {
    const words = guest.words();
    let wrong = 0;
    // Backwards, so that the background stream has not been there yet.
    for (let page = STANDING_PAGES - 1; page >= 0; page--) {
      if ((page + 1) % STANDING_STRIDE === 0) say({ step: "reading", page });
      if (words[page * 1024 + 17] !== file[page * 1024 + 17]) wrong++;
    }
    say({ step: "read", wrong });
  });
  await migrate(image.path, { ...how, guest }, (migrated) => {
    assertEachPageOnce(migrated);
    image.assertEqualMemory(guest.blocks);
    say({ step: "completed", requests: migrated.destination.requests });
  });
}

if (import.meta.main) await run(JSON.parse(Deno.args[0]!));
