/** What a child has where the process that it was forked from was being moved about. */

import { BASE_PAGE } from "../region.ts";
import type { IsMapped } from "./address_map.ts";

/** Memory that was moved. */
export interface Move {
  readonly from: number;
  readonly to: number;
  readonly length: number;
}

/**
 * A thread says that it has moved memory when it has done so; another may have forked meanwhile, and have said so
 * first. Then the child has that memory where it was moved to, and its own userfaultfd never says it. So a
 * child's map is not sure before that of the process it was forked from is; of what was said to be moved
 * meanwhile the kernel knows whether the child has it there.
 */
export class ForkDoubts {
  /** Children since the map was settled last. */
  readonly #children: ForkDoubts[] = [];
  /** Of a child: what was said to be moved behind its fork. */
  readonly #moves: Move[] = [];
  #known = true;

  /** False as long as more may be said. */
  get known(): boolean {
    return this.#known;
  }

  /** True when nothing is in doubt, here or at a child. */
  get settled(): boolean {
    return this.#known && this.#moves.length === 0 && this.#children.length === 0;
  }

  /** A child is there. */
  forked(child: ForkDoubts): void {
    child.#known = false;
    this.#children.push(child);
  }

  /** Children whose maps are not sure before this one's is. */
  get children(): readonly ForkDoubts[] {
    return this.#children;
  }

  /** Of a child: what is to be asked, oldest first. */
  get moves(): readonly Move[] {
    return this.#moves;
  }

  /** Memory was moved. */
  moved(from: number, to: number, length: number): void {
    for (const child of this.#children) child.doubt({ from, to, length });
  }

  /** Of a child: memory was moved in the process it was forked from. */
  doubt(move: Move): void {
    this.#moves.push(move);
  }

  /**
   * Of a child: has the kernel say what was moved before the fork.
   *
   * @param move called with what was
   * @param told called before with what the kernel says of the oldest: whether the child has it
   * @returns false when it cannot say it now
   */
  settle(
    isMapped: IsMapped,
    move: (from: number, to: number, length: number) => void,
    told: (mapped: boolean) => void = () => {},
  ): boolean {
    while (this.#moves.length > 0) {
      const { to, length } = this.#moves[0]!;
      const mapped = isMapped(to, length / BASE_PAGE);
      if (mapped === undefined) return false;
      told(mapped);
      this.judge(mapped, move);
    }
    return true;
  }

  /** Of a child: the kernel has said whether it has what is oldest. */
  judge(mapped: boolean, move: (from: number, to: number, length: number) => void): void {
    const { from, to, length } = this.#moves.shift()!;
    if (mapped) move(from, to, length);
  }

  /** All is sure: children know as much. */
  release(): void {
    for (const child of this.#children.splice(0)) child.#known = true;
  }
}
