/** What a guest and its devices do while a machine runs. */

import { RandomNumbers } from "../page_order.ts";
import type { Machine } from "./machine.ts";
import { RINGS_START } from "./options.ts";
import { RingDriver, RingMemory } from "./ring_driver.ts";
import type { VirtioQueue } from "./virtio_queue.ts";

/** Lets devices take what the driver offers, through their caches, and the driver offer it again. */
export class Traffic {
  readonly #queues: readonly VirtioQueue[];
  readonly #driver: RingDriver;
  readonly #random: RandomNumbers;
  #done = 0;

  /**
   * @param machine one that runs
   * @param seed what choices are made from
   */
  constructor(machine: Machine, seed: number) {
    const { map, ram } = machine;
    this.#random = new RandomNumbers(seed);
    const memory = new RingMemory(map.ramRanges(RINGS_START), this.#random);
    this.#driver = new RingDriver(map.memory, ram, memory);
    this.#queues = machine.virtioDevices.flatMap(({ activeQueues }) => activeQueues);
  }

  /** Requests that were done. */
  get done(): number {
    return this.#done;
  }

  /** Does some requests, each on any queue. */
  run(requests: number): void {
    if (this.#queues.length === 0) return;
    for (let i = 0; i < requests; i++) {
      const queue = this.#queues[this.#random.below(this.#queues.length)]!;
      const head = queue.take();
      if (head === undefined) continue;
      queue.done(head, this.#random.below(4096));
      this.#driver.offer(queue, head);
      this.#done++;
    }
  }
}
