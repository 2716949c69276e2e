/** Destinations of ours for the daemon's restores. */

import { assertEquals } from "@std/assert";
import { Destination, type DestinationOptions } from "../../client/destination.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { within } from "../support/deadline.ts";
import type { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { StillGuest } from "../support/still_guest.ts";

/** A destination that waits for a guest without a processor. */
export class Waiting implements AsyncDisposable {
  readonly guest = new StillGuest();
  readonly destination: Destination;
  /** Where it listens. */
  address: SocketAddress = LOOPBACK;

  private constructor(options: Partial<DestinationOptions>) {
    this.destination = new Destination({ ...options, guest: this.guest });
    this.destination.finished.catch(() => {}); // whoever cares awaits it
  }

  static async start(options: Partial<DestinationOptions> = {}): Promise<Waiting> {
    const waiting = new Waiting(options);
    waiting.address = await waiting.destination.listen(LOOPBACK);
    return waiting;
  }

  /** Where it listens, as it is written. */
  get to(): string {
    return formatSocketAddress(this.address);
  }

  /** Waits until its guest runs: a connection that breaks before ends it, and nothing can be recovered. */
  async runs(): Promise<void> {
    await within("the guest to run", this.destination.waitFor("postcopy-active"));
  }

  /** Waits until it has all of an image's memory, and sees that each page came once. */
  async hasAll(image: TestImage): Promise<void> {
    await within("the destination to complete", this.destination.finished);
    image.assertEqualMemory(this.guest.blocks);
    assertEquals(this.destination.statistics().duplicates, 0);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.destination.close();
  }
}

/** The body of a request that restores an image. */
export function restore(image: string, to: string, more: Record<string, unknown> = {}) {
  return { direction: "outgoing", image, to, ...more };
}
