/** What a device's state consists of, so that it can be saved, loaded, and described to others. */

import { encodeName } from "../protocol/names.ts";
import type { Field, Padding, ValueOf } from "./fields.ts";
import { newStateOf } from "./new_state.ts";
import { FIELD_KIND, type State, type Step, step, type Structure } from "./structure.ts";

declare const STATE: unique symbol;

/** What a state of type `S` consists of. */
export interface Description<S> extends Structure {
  /**
   * Exists for the type only.
   *
   * @internal
   */
  readonly [STATE]?: (state: S) => void;
}

/** Fields by their names, in the order of the stream. */
export type Fields = Readonly<Record<string, Field<unknown>>>;

/** The state that fields describe: an object with their values by their names. */
export type StateOf<F> = {
  -readonly [K in keyof F as F[K] extends Padding ? never : K]: ValueOf<F[K]>;
};

/** What all of the subsections need in the state. */
export type StateOfAll<B extends readonly Structure[]> = B[number] extends Description<infer S> ? S
  : never;

/** What {@linkcode description} makes a description from. */
export interface DescriptionOptions<F, B, S> {
  /** QEMU's vmsd name; that of a subsection is `parent/child`. */
  readonly name: string;
  /** The version that is saved, and the highest that is loaded. */
  readonly version: number;
  /** The lowest version that is loaded; default: `version`. */
  readonly minimumVersion?: number;
  /** What is in the stream, in this order. */
  readonly fields: F;
  /**
   * Fields that are in the stream only when this is true. When loading it is asked with the state as far
   * as it has come and the version that came; where it is false the state's own value stays.
   */
  readonly when?: { readonly [K in keyof F]?: (state: S, version: number) => boolean };
  /** Parts that follow the fields when they are `needed`; they share the state. */
  readonly subsections?: B;
  /**
   * Is it saved? Default: yes. For a device and for subsections; when loading, nothing is asked, and what
   * is absent leaves the state as it is.
   */
  needed?(state: S): boolean;
  /** Runs before the fields are saved. */
  preSave?(state: S): void;
  /**
   * Runs when the fields and subsections are loaded, before what follows in the stream. What it throws
   * ends the loading.
   */
  postLoad?(state: S, version: number): void;
  /**
   * Makes the state for a new element of a counted array. Default: an object with zeros, which is not
   * enough when the hooks want a class of their own.
   */
  create?(): S;
}

/**
 * Describes a device, a structure in it, or a subsection.
 *
 * TypeScript infers the state's type from the fields. When a hook names a type of its own for the state,
 * such as the class of the device, it is checked against the fields instead.
 *
 * @throws {RangeError} When names, versions or counters do not fit together.
 *
 * @example
 * ```ts
 * import { array, counted, description, Devices, newState, safeU64, struct, u16 } from "./mod.ts";
 *
 * const queue = description({ name: "queue", version: 1, fields: { head: u16, ring: safeU64 } });
 * const net = description({
 *   name: "net",
 *   version: 2,
 *   minimumVersion: 1,
 *   fields: { mac: array(u16, 3), active: u16, queues: counted(struct(queue), "active", 64) },
 * });
 * const state = newState(net);
 * state.active = state.queues.push({ head: 7, ring: 0x1000 });
 * const devices = new Devices();
 * devices.add({ name: "net", instance: 0, description: net, state });
 * const bytes = devices.save();
 * state.queues[0]!.head = 0;
 * devices.load(bytes);
 * if (state.queues[0]!.head !== 7) throw new Error("Not loaded");
 * ```
 */
export function description<
  const F extends Fields,
  const B extends readonly Structure[] = readonly [],
  S extends StateOf<F> & StateOfAll<B> = StateOf<F> & StateOfAll<B>,
>(options: DescriptionOptions<F, B, S>): Description<S> {
  const { name, version, minimumVersion = version, fields, subsections = [] } = options;
  const prefix = encodeName(`${name}/`);
  checkVersions(name, version, minimumVersion);
  // From here on the state is any object: DescriptionOptions has tied its type to the fields.
  const { when = {}, needed, preSave, postLoad, create } = options as unknown as
    & Pick<
      Structure,
      "needed" | "preSave" | "postLoad"
    >
    & { when?: Record<string, Step["when"]>; create?: () => State };
  const steps = Object.entries(fields).map(([key, field]) => step(key, field, when[key]));
  checkSteps(name, version, steps);
  checkSubsections(name, subsections);
  return {
    name,
    version,
    minimumVersion,
    steps,
    minimumSize: steps.reduce((sum, each) => sum + minimumSize(each), 0),
    uniform: subsections.length === 0 && steps.every(isUniform),
    subsections,
    prefix,
    needed,
    preSave,
    postLoad,
    create: create ?? (() => newStateOf({ steps, subsections })),
  };
}

function checkVersions(name: string, version: number, minimumVersion: number): void {
  if (version >>> 0 !== version || minimumVersion >>> 0 !== minimumVersion) {
    throw new RangeError(
      `Cannot use versions of ${name} that are not whole numbers of 32 bits: ${version}, ` +
        `${minimumVersion}`,
    );
  }
  if (minimumVersion > version) {
    throw new RangeError(
      `Cannot have a minimum version of ${name} above its version ${version}: ${minimumVersion}`,
    );
  }
}

function checkSteps(name: string, version: number, steps: readonly Step[]): void {
  steps.forEach(({ key, counter, since }, i) => {
    if (/^\d*$/.test(key) || key === "__proto__") {
      // JavaScript puts keys that look like indices before all others.
      throw new RangeError(`Cannot name a field of ${name} so, begin with a letter: "${key}"`);
    }
    if (since > version) {
      throw new RangeError(
        `Cannot have field ${key} of ${name} since a version above ${version}: ${since}`,
      );
    }
    const counts = steps.slice(0, i).find((before) => before.key === counter);
    if (counter !== undefined && (counts === undefined || !canCount(counts))) {
      throw new RangeError(
        `Cannot count field ${key} of ${name} by other than a number before it: ${counter}`,
      );
    }
  });
}

function canCount({ kind, many }: Step): boolean {
  return !many && (kind <= FIELD_KIND.I32 || kind === FIELD_KIND.SAFE_U64 ||
    kind === FIELD_KIND.SAFE_I64);
}

function checkSubsections(name: string, subsections: readonly Structure[]): void {
  const names = new Set<string>();
  for (const subsection of subsections) {
    if (!subsection.name.startsWith(`${name}/`) || subsection.name.length === name.length + 1) {
      throw new RangeError(
        `Cannot have a subsection of ${name} that is not named ${name}/something: ` +
          subsection.name,
      );
    }
    if (names.has(subsection.name)) {
      throw new RangeError(`Cannot have a subsection of ${name} twice: ${subsection.name}`);
    }
    if (subsection.needed === undefined) {
      throw new RangeError(
        `Cannot have a subsection of ${name} without "needed", make it fields: ${subsection.name}`,
      );
    }
    names.add(subsection.name);
  }
}

function minimumSize({ since, when, counter, many, length, size, structure }: Step): number {
  if (since > 0 || when !== undefined || counter !== undefined) return 0;
  return (many ? length : 1) * (structure?.minimumSize ?? size);
}

function isUniform({ when, counter, structure }: Step): boolean {
  return when === undefined && counter === undefined && structure?.uniform !== false;
}

/** A state as the description says, with zeros and empty arrays. */
export function newState<S>(description: Description<S>): S {
  return description.create() as S;
}
