// deno-lint-ignore-file no-console -- a program
/** A source of an image in a process of its own, which can be killed: a line of JSON for each status. */

import type { SocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import { Source } from "../../server/source.ts";
import type { Encryption } from "../support/migrate.ts";
import { StatusLog } from "../support/status_log.ts";
import type { Plan } from "./draw.ts";
import { describeError } from "./run_log.ts";
import { sourceOptions } from "./source_ends.ts";

/** What it does: its argument, as JSON. */
export interface ServingJob {
  readonly plan: Plan;
  readonly path: string;
  readonly to: SocketAddress;
  readonly recover: boolean;
  readonly tls?: Encryption["source"];
}

/** What it says. */
export type ServingEvent =
  | { readonly kind: "status"; readonly status: string; readonly reason?: string }
  | { readonly kind: "result"; readonly error?: string };

function say(event: ServingEvent): void {
  console.log(JSON.stringify(event));
}

async function serve({ plan, path, to, recover, tls }: ServingJob): Promise<void> {
  using image = await openImage(path);
  const options = sourceOptions(plan, tls, new StatusLog());
  const onStatus = (status: string, reason?: Error) =>
    say({
      kind: "status",
      status,
      ...reason === undefined ? {} : { reason: describeError(reason) },
    });
  await using source = new Source(image, { ...options, to, recover, onStatus });
  const signals = { SIGUSR1: () => source.pause(), SIGUSR2: () => source.recover() } as const;
  for (const [signal, act] of Object.entries(signals)) {
    Deno.addSignalListener(signal as keyof typeof signals, () => {
      try {
        act();
      } catch {
        // Not in that state any more.
      }
    });
  }
  await source.run();
}

if (import.meta.main) {
  const job = JSON.parse(Deno.args[0]!) as ServingJob;
  const error = await serve(job).then(() => undefined, describeError);
  say({ kind: "result", ...error === undefined ? {} : { error } });
  Deno.exit(0);
}
