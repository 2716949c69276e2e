/** The pieces that an address space is built from. */

import { checkNoCycle } from "./cycle.ts";
import type { MemoryCore } from "./memory_core.ts";
import { MemoryRegionError } from "./memory_region_error.ts";
import { checkEnd, checkOffset, checkPriority, checkSameCore, checkSize } from "./region_checks.ts";
import { addEvent, type RegionEvent, removeEvent } from "./region_event.ts";

/** What a region is: a place for others, memory of a RAM block, a device, or a window on another region. */
export type MemoryRegionKind = "container" | "ram" | "io" | "alias";

/** Which memory a RAM region is. */
export interface RamBacking {
  /** The RAM block's name, for example `"pc.ram"`. */
  readonly block: string;
  /** Where in the block the region begins, in bytes; default 0. */
  readonly offset?: number;
}

interface Details {
  readonly kind: MemoryRegionKind;
  readonly backing?: RamBacking;
  readonly target?: MemoryRegion;
  readonly targetOffset?: number;
}

/**
 * A region of guest memory. Regions form a tree: containers hold others at offsets, aliases show a
 * part of a region that is elsewhere in the tree (or in none). Regions of a container may overlap: the
 * one with the higher priority is on top, and among equals the one added later.
 *
 * Every change is committed at once, unless made inside of {@linkcode MemoryCore.transaction}. A
 * commit throws what listeners throw; the change is made all the same.
 *
 * @example
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { AddressSpace } from "./address_space.ts";
 * import { MemoryCore } from "./memory_core.ts";
 * import { MemoryRegion } from "./memory_region.ts";
 *
 * const core = new MemoryCore();
 * const system = MemoryRegion.container(core, "system", 2 ** 40);
 * const memory = new AddressSpace(core, "memory", system);
 * system.add(MemoryRegion.ram(core, "ram", 2 ** 30, { block: "pc.ram" }), 0);
 * system.add(MemoryRegion.io(core, "serial", 4096), 0x10000, 1);
 * assertEquals(memory.flatView().find(0x10010)?.region.name, "serial");
 * assertEquals(memory.flatView().find(0x11000)?.offset, 0x11000);
 * ```
 */
export class MemoryRegion {
  /** The machine it belongs to. */
  readonly core: MemoryCore;
  /** For messages; need not be unique. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** What it is. */
  readonly kind: MemoryRegionKind;
  /** The RAM block that a RAM region is memory of. */
  readonly block: string | undefined;
  /** Where in its block a RAM region begins, in bytes. */
  readonly blockOffset: number;
  /** The region that an alias shows a part of. */
  readonly target: MemoryRegion | undefined;
  /** Where in its target an alias begins, in bytes. */
  readonly targetOffset: number;

  #parent: MemoryRegion | undefined;
  #address = 0;
  #priority = 0;
  #enabled = true;
  /** Which addition to its parent brought it. */
  #addition = 0;
  #additions = 0;
  /** Bottom first: by priority, then by addition. */
  readonly #children: MemoryRegion[] = [];
  readonly #events: RegionEvent[] = [];

  private constructor(core: MemoryCore, name: string, size: number, details: Details) {
    checkSize("region", name, size);
    this.core = core;
    this.name = name;
    this.size = size;
    this.kind = details.kind;
    this.block = details.backing?.block;
    this.blockOffset = details.backing?.offset ?? 0;
    this.target = details.target;
    this.targetOffset = details.targetOffset ?? 0;
    checkOffset("Offset in its RAM block", name, this.blockOffset);
    checkOffset("Offset in its target", name, this.targetOffset);
  }

  /**
   * Makes a region that holds others.
   *
   * @param core the machine it belongs to
   * @param name for messages
   * @param size bytes, at most 2^53
   * @throws {MemoryRegionError} for a size that cannot be
   */
  static container(core: MemoryCore, name: string, size: number): MemoryRegion {
    return new MemoryRegion(core, name, size, { kind: "container" });
  }

  /**
   * Makes a region that is memory of a RAM block.
   *
   * @param core the machine it belongs to
   * @param name for messages
   * @param size bytes, at most 2^53
   * @param backing which memory
   * @throws {MemoryRegionError} for a size or offset that cannot be
   */
  static ram(core: MemoryCore, name: string, size: number, backing: RamBacking): MemoryRegion {
    return new MemoryRegion(core, name, size, { kind: "ram", backing });
  }

  /**
   * Makes a region whose reads and writes go to a device.
   *
   * @param core the machine it belongs to
   * @param name for messages
   * @param size bytes, at most 2^53
   * @throws {MemoryRegionError} for a size that cannot be
   */
  static io(core: MemoryCore, name: string, size: number): MemoryRegion {
    return new MemoryRegion(core, name, size, { kind: "io" });
  }

  /**
   * Makes a region that shows a part of another.
   *
   * @param core the machine it belongs to
   * @param name for messages
   * @param target the region shown; while it is disabled the alias shows nothing
   * @param offset where in the target it begins, in bytes
   * @param size bytes
   * @throws {MemoryRegionError} for a size or offset that cannot be, or a part past the target's end
   */
  static alias(
    core: MemoryCore,
    name: string,
    target: MemoryRegion,
    offset: number,
    size: number,
  ): MemoryRegion {
    const alias = new MemoryRegion(core, name, size, {
      kind: "alias",
      target,
      targetOffset: offset,
    });
    checkSameCore(alias, target);
    checkEnd(target, alias, offset);
    return alias;
  }

  /** The container it is in. */
  get parent(): MemoryRegion | undefined {
    return this.#parent;
  }

  /** What a container holds, the lowest first. */
  get children(): readonly MemoryRegion[] {
    return this.#children;
  }

  /** The I/O events of the region. */
  get events(): readonly RegionEvent[] {
    return this.#events;
  }

  /**
   * Whether it is shown; at first true. Setting it may throw what listeners throw.
   */
  get enabled(): boolean {
    return this.#enabled;
  }

  set enabled(enabled: boolean) {
    if (enabled === this.#enabled) return;
    // Noted while it is enabled: only then is it seen.
    if (enabled) this.#enabled = true;
    this.core.changes.note(this, "view");
    this.#enabled = enabled;
    this.core.changed();
  }

  /**
   * Where in its container it begins, in bytes; 0 while it is in none. Setting it moves the region and
   * keeps its place above or below others; it throws {@linkcode MemoryRegionError} for a place that
   * cannot be or a region that is in no container.
   */
  get address(): number {
    return this.#address;
  }

  set address(address: number) {
    const parent = this.#placedIn("moved");
    checkOffset(`Offset in ${parent.name}`, this.name, address);
    checkEnd(parent, this, address);
    if (address === this.#address) return;
    this.#address = address;
    parent.#childChanged(this);
  }

  /**
   * Which of the regions that overlap in its container is on top: the highest. Setting it keeps the
   * order of additions among equals; it throws {@linkcode MemoryRegionError} for a priority that is no
   * whole number or a region that is in no container.
   */
  get priority(): number {
    return this.#priority;
  }

  set priority(priority: number) {
    const parent = this.#placedIn("given a priority");
    checkPriority(this.name, priority);
    if (priority === this.#priority) return;
    parent.#children.splice(parent.#indexOf(this), 1);
    this.#priority = priority;
    parent.#children.splice(parent.#indexOf(this), 0, this);
    parent.#childChanged(this);
  }

  /**
   * Puts a region in this container.
   *
   * @param child a region that is in no container
   * @param offset where in this container, in bytes
   * @param priority a whole number; among overlapping regions the highest is on top
   * @throws {MemoryRegionError} when it reaches past this container's end, is in a container, or would
   * contain itself; nothing is changed then
   */
  add(child: MemoryRegion, offset: number, priority = 0): void {
    if (this.kind !== "container") {
      throw new MemoryRegionError(
        "NOT_A_CONTAINER",
        `Region ${child.name} put in ${this.name}, which is no container: ${this.kind}: ` +
          `put both in a container, this one with a higher priority`,
        [child.name, this.name],
      );
    }
    checkSameCore(child, this);
    if (child.#parent !== undefined) {
      throw new MemoryRegionError(
        "PLACED_TWICE",
        `Region ${child.name} put in ${this.name} is in a container already: ` +
          `${child.#parent.name}: remove it there first, or add an alias of it`,
        [child.name, this.name, child.#parent.name],
      );
    }
    checkOffset(`Offset in ${this.name}`, child.name, offset);
    checkEnd(this, child, offset);
    checkPriority(child.name, priority);
    checkNoCycle(this, child);
    child.#parent = this;
    child.#address = offset;
    child.#priority = priority;
    child.#addition = ++this.#additions;
    this.#children.splice(this.#indexOf(child), 0, child);
    this.core.changes.link(child);
    this.#childChanged(child);
  }

  /**
   * Takes a region out of this container.
   *
   * @throws {MemoryRegionError} when it is not in it
   */
  remove(child: MemoryRegion): void {
    if (child.#parent !== this) {
      throw new MemoryRegionError(
        "NOT_PLACED",
        `Region ${child.name} to be removed from ${this.name} is not in it: ` +
          `it is in ${child.#parent?.name ?? "no container"}`,
        [child.name, this.name],
      );
    }
    this.#children.splice(this.#indexOf(child), 1);
    child.#parent = undefined;
    child.#address = 0;
    child.#priority = 0;
    this.core.changes.unlink(child);
    this.#childChanged(child);
  }

  /**
   * Adds an I/O event: listeners are told of every address at which all of it is seen.
   *
   * @throws {MemoryRegionError} for a region that is no I/O, and an event that cannot be or is there
   */
  addEvent(event: RegionEvent): void {
    addEvent(this.#events, event, this);
    this.#eventsChanged();
  }

  /**
   * Removes the I/O event that has the same offset, size, value and key.
   *
   * @throws {MemoryRegionError} when there is none
   */
  removeEvent(event: RegionEvent): void {
    removeEvent(this.#events, event, this);
    this.#eventsChanged();
  }

  #childChanged(child: MemoryRegion): void {
    if (!child.#enabled) return;
    this.core.changes.note(this, "view");
    this.core.changed();
  }

  #eventsChanged(): void {
    this.core.changes.note(this, "events");
    this.core.changed();
  }

  #placedIn(what: string): MemoryRegion {
    if (this.#parent !== undefined) return this.#parent;
    throw new MemoryRegionError(
      "NOT_PLACED",
      `Region ${this.name} ${what} is in no container: add it to one`,
      [this.name],
    );
  }

  /** Returns where a region is, or belongs, among the children. */
  #indexOf(child: MemoryRegion): number {
    const children = this.#children;
    let low = 0;
    let high = children.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const other = children[middle]!;
      const below = other.#priority - child.#priority || other.#addition - child.#addition;
      if (below < 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
