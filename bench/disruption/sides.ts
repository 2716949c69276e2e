/** Who restores a guest: all of its memory first, QEMU, `serve`, and `serve` with an order. */

import { denoCommand } from "../support/bench_process.ts";
import type { WorkloadImages } from "../support/workload_images.ts";
import { type CapturedGuest, captureGuest } from "./captured.ts";
import type { Figures, Timing } from "./figures.ts";
import { restoreByUs } from "./our_restore.ts";
import type { Placement } from "./placement.ts";
import { restoreByQemu, restoreByServe, restoreFirst } from "./qemu_restore.ts";
import type { QemuGuest, RestorableGuests } from "./restorable_guest.ts";
import type { GuestName } from "./row.ts";

const SERVER = new URL("../../server/main.ts", import.meta.url);

/** Enough of a guest to see that it runs: for the restore that is not counted. */
const GLANCE: Timing = { window: 500, settle: 0, undisturbed: 500 };

/** What restores a guest at a placement, each once when called. */
export interface Sides {
  readonly floor: () => Promise<Figures>;
  readonly ourFloor?: () => Promise<Figures>;
  readonly qemu: (limit: number) => Promise<Figures>;
  readonly serve: (limit: number) => Promise<Figures>;
  readonly again?: (limit: number) => Promise<Figures>;
}

/** Tells whether `serve` can keep the order in which pages were asked for. */
export async function serveKnowsOrders(): Promise<boolean> {
  const words = denoCommand(SERVER, ["serve", "--help"]);
  const { stdout } = await new Deno.Command(words[0]!, { args: words.slice(1), stderr: "null" })
    .output();
  return /^ +--order\b/m.test(new TextDecoder().decode(stdout));
}

/** Guests at rest, made when they are first asked for. */
export class GuestsAtRest {
  readonly #guests: RestorableGuests;
  readonly #directory: string;
  readonly #captured = new Map<QemuGuest, Promise<CapturedGuest>>();

  /** @param directory where their images lie */
  constructor(guests: RestorableGuests, directory: string) {
    this.#guests = guests;
    this.#directory = directory;
  }

  /** Captures a guest, or finds it. */
  captured(name: QemuGuest): Promise<CapturedGuest> {
    let captured = this.#captured.get(name);
    if (captured === undefined) this.#captured.set(name, captured = this.#capture(name));
    return captured;
  }

  async #capture(name: QemuGuest): Promise<CapturedGuest> {
    return await captureGuest(await this.#guests.make(name), `${this.#directory}/${name}`);
  }
}

/** How the first restore notes an order. */
export interface Orders {
  /** Seconds for which it holds its background back, so that it hears of every first touch. */
  readonly record: number | undefined;
}

/** What sides are made from. */
export interface SidesSetup {
  readonly atRest: GuestsAtRest;
  readonly images: WorkloadImages;
  /** Bytes of the guest's memory. */
  readonly memory: number;
  readonly timing: Timing;
  /** Bytes a second of the background, each that is measured. */
  readonly limits: readonly number[];
  /** How the order for the second restore is made; undefined where `serve` keeps none. */
  readonly orders: Orders | undefined;
}

/**
 * Makes the sides of a guest at a placement. Its image is restored by `serve` before: that makes its
 * index, and where orders are kept those for {@linkcode Sides.again}, at each limit one.
 */
export async function makeSides(
  guest: GuestName,
  placement: Placement,
  { atRest, images, memory, timing, limits, orders }: SidesSetup,
): Promise<Sides> {
  const setup = { placement, timing };
  const withoutOrder = orders === undefined ? {} : { serveArgs: ["--order", "off"] };
  const captured = await atRest.captured(guest === "workload" ? "random" : guest);
  const floor = () => restoreFirst(captured, { ...setup, limit: 0 });
  const qemu = (limit: number) => restoreByQemu(captured, { ...setup, limit });
  if (guest === "workload") {
    const image = await images.path(memory);
    const byUs = (limit: number, allFirst: boolean) =>
      restoreByUs(image, { ...setup, limit, ...withoutOrder }, allFirst);
    return { floor, ourFloor: () => byUs(0, true), qemu, serve: (limit) => byUs(limit, false) };
  }
  if (orders === undefined) {
    await restoreByServe(captured, { placement, limit: 0, timing: GLANCE });
    return { floor, qemu, serve: (limit) => restoreByServe(captured, { ...setup, limit }) };
  }
  const first = `${captured.path}.first-order`;
  const serve = async (limit: number): Promise<Figures> => {
    await removeOrder(first); // a first restore each time, with what is known without an order
    return await restoreByServe(captured, { ...setup, limit, serveArgs: ["--order", first] });
  };
  const order = `${captured.path}.order`;
  const recorded = new Map<number, Uint8Array>();
  for (const limit of limits) {
    recorded.set(limit, await recordOrder(captured, order, { placement, limit, orders }));
  }
  const again = async (limit: number): Promise<Figures> => {
    await Deno.writeFile(order, recorded.get(limit)!); // a second restore each time, never a third
    return await restoreByServe(captured, { ...setup, limit, serveArgs: ["--order", order] });
  };
  return { floor, qemu, serve, again };
}

/**
 * Restores a guest for the first time, and returns the order that `serve` then keeps.
 *
 * @throws {Deno.errors.NotFound} when the guest asked for nothing
 */
async function recordOrder(
  captured: CapturedGuest,
  order: string,
  { placement, limit, orders }: {
    readonly placement: Placement;
    readonly limit: number;
    readonly orders: Orders;
  },
): Promise<Uint8Array> {
  await removeOrder(order);
  const record = orders.record === undefined ? [] : ["--record", `${orders.record}`];
  const serveArgs = ["--order", order, ...record];
  await restoreByServe(captured, { placement, limit, timing: GLANCE, serveArgs });
  return await Deno.readFile(order);
}

async function removeOrder(path: string): Promise<void> {
  await Deno.remove(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}
