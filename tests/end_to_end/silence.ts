// deno-lint-ignore-file no-console -- a command
/**
 * Child process, in a network namespace of its own: migrations whose network is cut without a word. Prints, as
 * JSON, what each end made of it.
 *
 * @module
 */

import { Destination } from "../../client/destination.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import { writeWorkloadImage } from "../../workload/image.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { until, within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { cutLoopback } from "../support/namespaces.ts";
import { StillGuest } from "../support/still_guest.ts";

/** What each end says when the other has fallen silent. */
export interface SilenceReport {
  /** A destination whose guest runs, both channels at rest. */
  readonly running: string;
  /** A destination that waits for memory. */
  readonly waiting: string;
  /** An image that waits for memory. */
  readonly image: string;
  /** The two ends of a migration of ours, while pages are on their way. */
  readonly source: string;
  readonly destination: string;
}

const STALL = 2_000;
const directory = await Deno.makeTempDir();

async function destinationAfter(steps: (source: HostileSource) => Promise<void>) {
  const destination = new Destination({ guest: new StillGuest(), stallTimeout: STALL });
  const source = new HostileSource(await destination.listen(LOOPBACK));
  await source.connect();
  await steps(source);
  return destination;
}

const running = await destinationAfter(async (source) => {
  await source.connectPreempt();
  await source.switchOver();
  await source.hear(({ pongs }) => pongs.includes(3));
});
await within("the guest", running.waitFor("postcopy-active"));
const advised = async (source: HostileSource) => {
  source.encodeAdvise();
  await source.flush();
  await source.hear(({ pongs }) => pongs.includes(1));
};
const waiting = await destinationAfter(advised);
const receiver = new ImageReceiver({ path: `${directory}/received`, stallTimeout: STALL });
const toImage = new HostileSource(await receiver.listen(LOOPBACK));
await toImage.connect();
await advised(toImage);

await writeWorkloadImage(`${directory}/image`, {
  blocks: [{ name: "ram", length: 64 * 1024 * 1024 }],
  seed: 1,
  zeroEvery: 0,
  repeats: 1,
});
const image = await openImage(`${directory}/image`);
const destination = new Destination({ guest: new StillGuest(), stallTimeout: STALL });
const sourcePaused = Promise.withResolvers<string>();
const source = new Source(image, {
  onStatus: (status, reason) => {
    if (status === "postcopy-paused") sourcePaused.resolve(reason?.message ?? "");
  },
  to: await destination.listen(LOOPBACK),
  stallTimeout: STALL,
  maxPostcopyBandwidth: 64 * 1024, // a quarter of an hour
});
source.run().catch((error) => sourcePaused.reject(error));
await within("the guest of ours", destination.waitFor("postcopy-active"));
await until("pages", () => destination.statistics().received > 0);

cutLoopback();
const failed = (promise: Promise<void>) =>
  promise.then(() => "completed", (error) => error.message);
const paused = async (each: Destination) => {
  await within("a pause", each.waitFor("postcopy-paused"));
  return each.pauseReason?.message ?? "";
};
const report: SilenceReport = {
  running: await paused(running),
  waiting: await within("the failure", failed(waiting.finished)),
  image: await within("the image's failure", failed(receiver.finished)),
  source: await within("the source's pause", sourcePaused.promise),
  destination: await paused(destination),
};
await Deno.remove(directory, { recursive: true });
console.log(JSON.stringify(report));
Deno.exit();
