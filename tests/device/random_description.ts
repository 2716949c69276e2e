import {
  array,
  bool,
  bytes,
  counted,
  countedBytes,
  type Description,
  description,
  type Element,
  type Field,
  i16,
  i32,
  i64,
  i8,
  safeI64,
  safeU64,
  since,
  struct,
  u16,
  u32,
  u64,
  u8,
  unused,
} from "../../migration/device/mod.ts";
import { FIELD_KIND, type State, type Step } from "../../migration/device/structure.ts";
import type { Random } from "../support/random.ts";

/** Numbers of every kind: the kinds of {@linkcode FIELD_KIND} in order. */
const SCALARS: readonly Element<unknown, unknown>[] = [
  u8,
  i8,
  u16,
  i16,
  u32,
  i32,
  u64,
  i64,
  safeU64,
  safeI64,
  bool,
];
const COUNTERS = [u8, i8, u16, i16, u32, i32, safeU64, safeI64];
const MOST_ELEMENTS = 5;

type AnyDescription = Description<State>;

/** A random description with nested structures, conditions and subsections. */
export function randomDescription(random: Random, depth = 3): AnyDescription {
  const name = `d${random.below(1e9)}`;
  const version = random.between(1, 5);
  const { fields, when } = randomFields(random, version, depth, "");
  const subsections: AnyDescription[] = [];
  while (depth > 0 && random.oneIn(3)) {
    subsections.push(randomSubsection(random, `${name}/s${subsections.length}`, depth - 1));
  }
  return description({ name, version, fields, when, subsections }) as AnyDescription;
}

function randomSubsection(random: Random, name: string, depth: number): AnyDescription {
  const version = random.between(0, 5);
  // Parts share their device's state, so their keys must be their own.
  const { fields, when } = randomFields(random, version, depth, `${name} `);
  const flag = `${name} is needed`;
  const needed = (state: State) => state[flag] === true;
  const all = { [flag]: bool, ...fields };
  const parts = depth > 0 && random.oneIn(3)
    ? [randomSubsection(random, `${name}/s`, depth - 1)]
    : [];
  return description({
    name,
    version,
    fields: all,
    when,
    needed,
    subsections: parts,
  }) as AnyDescription;
}

interface RandomFields {
  readonly fields: Record<string, Field<unknown>>;
  readonly when: Record<string, (state: State) => boolean>;
}

function randomFields(
  random: Random,
  version: number,
  depth: number,
  prefix: string,
): RandomFields {
  const fields: Record<string, Field<unknown>> = {};
  const when: Record<string, (state: State) => boolean> = {};
  // The first makes sure that there may be any number of these.
  fields[`${prefix}first`] = u8;
  const flag = `${prefix}flag`;
  fields[flag] = bool;
  const counter = `${prefix}counter`;
  fields[counter] = random.pick(COUNTERS);
  for (let i = random.between(0, 8); i > 0; i--) {
    const key = `${prefix}f${i}`;
    fields[key] = random.oneIn(5)
      ? since(random.between(0, version), randomField(random, counter, depth))
      : randomField(random, counter, depth);
    if (random.oneIn(5)) when[key] = (state) => state[flag] === true;
  }
  return { fields, when };
}

function randomField(random: Random, counter: string, depth: number): Field<unknown> {
  const element = depth > 0 && random.oneIn(3)
    ? struct(randomDescription(random, depth - 1))
    : random.pick(SCALARS);
  switch (random.below(8)) {
    case 0:
      return array(element, random.below(MOST_ELEMENTS + 1));
    case 1:
      return counted(element, counter, MOST_ELEMENTS);
    case 2:
      return bytes(random.below(40));
    case 3:
      return countedBytes(counter, MOST_ELEMENTS);
    case 4:
      return unused(random.below(5));
    default:
      return element;
  }
}

/**
 * Fills a new state with random values. What is not in the stream keeps its zero, so that the state that
 * is loaded is the same.
 */
export function fillRandomly(random: Random, structure: AnyDescription, state: State): void {
  for (const step of structure.steps) {
    if (step.since > structure.version || step.when?.(state, structure.version) === false) continue;
    if (step.kind === FIELD_KIND.UNUSED) continue;
    if (step.key.endsWith("counter")) state[step.key] = random.between(0, MOST_ELEMENTS);
    else if (step.many) fillArray(random, step, state);
    else if (step.structure !== undefined) {
      fillRandomly(random, step.structure, state[step.key] as State);
    } else state[step.key] = randomValue(random, step.kind);
  }
  for (const part of structure.subsections) {
    if (random.oneIn(2)) continue;
    fillRandomly(random, part, state);
    state[`${part.name} is needed`] = true;
  }
}

function fillArray(random: Random, step: Step, state: State): void {
  const { structure, counter, length, kind, key } = step;
  const count = counter === undefined ? length : state[counter] as number;
  if (structure !== undefined) {
    state[key] = Array.from({ length: count }, () => {
      const element = structure.create();
      fillRandomly(random, structure, element);
      return element;
    });
    return;
  }
  const values = Array.from({ length: count }, () => randomValue(random, kind));
  const Constructor = (state[key] as { constructor: { from(values: unknown[]): unknown } })
    .constructor;
  state[key] = Constructor.from(values);
}

/** A value of a kind; often one at the end of its range. */
function randomValue(random: Random, kind: number): unknown {
  const extreme = random.oneIn(3);
  const whole = (least: number, most: number) =>
    extreme ? random.pick([least, most]) : random.between(least, most);
  switch (kind) {
    case FIELD_KIND.I8:
      return whole(-(2 ** 7), 2 ** 7 - 1);
    case FIELD_KIND.U16:
      return whole(0, 2 ** 16 - 1);
    case FIELD_KIND.I16:
      return whole(-(2 ** 15), 2 ** 15 - 1);
    case FIELD_KIND.U32:
      return whole(0, 2 ** 32 - 1);
    case FIELD_KIND.I32:
      return whole(-(2 ** 31), 2 ** 31 - 1);
    case FIELD_KIND.U64:
      return extreme ? random.pick([0n, 2n ** 64n - 1n]) : randomBits(random);
    case FIELD_KIND.I64:
      return extreme ? random.pick([-(2n ** 63n), -1n]) : BigInt.asIntN(64, randomBits(random));
    case FIELD_KIND.SAFE_U64:
      return whole(0, Number.MAX_SAFE_INTEGER);
    case FIELD_KIND.SAFE_I64:
      return extreme
        ? random.pick([Number.MIN_SAFE_INTEGER, -1, Number.MAX_SAFE_INTEGER])
        : random.below(2 ** 53) * random.pick([1, -1]) || 0;
    case FIELD_KIND.BOOL:
      return random.oneIn(2);
    default:
      return whole(0, 2 ** 8 - 1);
  }
}

function randomBits(random: Random): bigint {
  return BigInt(random.u32()) << 32n | BigInt(random.u32());
}
