/** What the threads of a migration know of the order of its pages. */

/** Plain data, for `postMessage`. */
export interface OrderInit {
  /** Shared memory of the `SendPlan`; absent: pages are sent in the order of memory. */
  readonly plan?: SharedArrayBuffer;
  /** Whether the plan is what is sent first; else what is asked for is only compared with it. */
  readonly sends: boolean;
  /** Shared memory of the `RequestLog`; absent: what is asked for is not noted. */
  readonly log?: SharedArrayBuffer;
  /** Milliseconds from the guest's start for which nothing is sent that nobody asked for. */
  readonly holdBack: number;
}

/** What is sent before the guest runs. */
export interface EarlyPages {
  /** Milliseconds that it may take. */
  readonly milliseconds: number;
  /** Whether pages are passed over that the image does not hold: the destination is told of them. */
  readonly passesOver: boolean;
}
