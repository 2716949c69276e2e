/** When what happened to a guest on its way into this process. */

/** What a downtime was spent on at the destination, in milliseconds; they add up to it. */
export interface ArrivalParts {
  /** From the first byte that a stopped guest sends until its device state is complete here. */
  readonly transfer: number;
  /** Loading the device state, without commits of its memory map. */
  readonly load: number;
  /** Committing the memory map while devices were loaded, and at the end. */
  readonly commit: number;
  /** Telling the source, and starting the guest. */
  readonly start: number;
}

/** How a guest got here, in milliseconds. */
export interface ArrivalFigures {
  /** From the main connection until the guest was started. */
  readonly "time-to-run": number;
  /** From the first byte that a stopped guest sends until it was started. */
  readonly downtime: number;
  /** What that was spent on. */
  readonly "downtime-parts": ArrivalParts;
}

/** Moments in monotonic nanoseconds, 0 for what has not happened. */
export class ArrivalTimes {
  /** The main channel was connected. */
  connected = 0;
  /** The first byte that the stopped guest sent was here. */
  switched = 0;
  /** The device state was complete. */
  arrived = 0;
  /** It was loaded. */
  loaded = 0;
  /** Nanoseconds of this that were spent committing the memory map. */
  commit = 0;
  /** The guest was started. */
  running = 0;

  /** The figures; undefined before the guest was started. */
  figures(): ArrivalFigures | undefined {
    if (this.running === 0) return undefined;
    return {
      "time-to-run": (this.running - this.connected) / 1e6,
      downtime: (this.running - this.switched) / 1e6,
      "downtime-parts": {
        transfer: (this.arrived - this.switched) / 1e6,
        load: (this.loaded - this.arrived - this.commit) / 1e6,
        commit: this.commit / 1e6,
        start: (this.running - this.loaded) / 1e6,
      },
    };
  }
}
