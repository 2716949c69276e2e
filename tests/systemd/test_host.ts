/**
 * The host of one file of tests, which is started when the file is loaded: only then is it known whether it can be.
 *
 * @module
 */

import { type SkipReason, skipReason } from "../support/skip.ts";
import { SystemdHost } from "./systemd_host.ts";
import { whyNoSystemd } from "./systemd_tree.ts";

async function startHost(): Promise<SystemdHost | SkipReason> {
  const reason = whyNoSystemd();
  if (reason !== undefined) return reason;
  try {
    return await SystemdHost.start();
  } catch (error) {
    const why = (error as Error).message.replaceAll("\n", "; ");
    return skipReason("no support", `No systemd can be started here: ${why}`);
  }
}

const started = await startHost();

/** What tests with a real systemd need. */
export const needsSystemd: SkipReason | undefined = started instanceof SystemdHost
  ? undefined
  : started;

/** The host, for tests that are not skipped. */
export const host = started as SystemdHost;

if (started instanceof SystemdHost) Deno.test.afterAll(() => started[Symbol.asyncDispose]());
