import { assert, assertEquals } from "@std/assert";
import { describeFields } from "../../migration/device/described_fields.ts";
import {
  type Description,
  Devices,
  DeviceStateError,
  newState,
} from "../../migration/device/mod.ts";
import type { State } from "../../migration/device/structure.ts";
import { deviceSections, parseVmDescription } from "../../migration/protocol/mod.ts";
import { damage } from "../support/damage.ts";
import { Random } from "../support/random.ts";
import { fillRandomly, randomDescription } from "./random_description.ts";

const SEEDS = Array.from({ length: 200 }, (_, i) => i + 1);

/** A machine with devices of random descriptions. */
interface RandomMachine {
  readonly descriptions: readonly Description<State>[];
  readonly states: readonly State[];
  readonly devices: Devices;
}

function machineOf(descriptions: readonly Description<State>[]): RandomMachine {
  const devices = new Devices();
  const states = descriptions.map((description, i) => {
    const state = newState(description);
    // Two of each name, so that the instance matters.
    devices.add({ name: `device-${i >> 1}`, instance: i & 1, description, state });
    return state;
  });
  return { descriptions, states, devices };
}

function randomMachine(random: Random): RandomMachine {
  const count = random.between(1, 4);
  const machine = machineOf(Array.from({ length: count }, () => randomDescription(random)));
  machine.descriptions.forEach((each, i) => fillRandomly(random, each, machine.states[i]!));
  return machine;
}

Deno.test("Devices.load gives any state that Devices.save saved", () => {
  for (const seed of SEEDS) {
    const source = randomMachine(new Random(seed));
    const destination = machineOf(source.descriptions);
    const saved = source.devices.save();
    destination.devices.load(saved);
    assertEquals(destination.states, source.states, `seed ${seed}`);
    assertEquals(destination.devices.save(), saved, `seed ${seed}`);
  }
});

/** Makes no subsection needed, in a state and all that it holds. */
function dropSubsections(state: State): void {
  for (const [key, value] of Object.entries(state)) {
    if (key.endsWith("is needed")) state[key] = false;
    else if (Array.isArray(value)) value.filter(isState).forEach(dropSubsections);
    else if (isState(value)) dropSubsections(value);
  }
}

function isState(value: unknown): value is State {
  return typeof value === "object" && value !== null && !ArrayBuffer.isView(value);
}

Deno.test("Devices.load overwrites any state that was there", () => {
  for (const seed of SEEDS) {
    const random = new Random(seed);
    const source = randomMachine(random);
    const destination = machineOf(source.descriptions);
    source.descriptions.forEach((each, i) => fillRandomly(random, each, destination.states[i]!));
    // The source says nothing of subsections that only the destination had.
    destination.states.forEach(dropSubsections);
    const saved = source.devices.save();
    destination.devices.load(saved);
    assertEquals(destination.devices.save(), saved, `seed ${seed}`);
  }
});

Deno.test("Devices.describe leads deviceSections to the sections that Devices.save wrote", () => {
  for (const seed of SEEDS) {
    const { devices, descriptions } = randomMachine(new Random(seed));
    const saved = devices.save();
    const description = parseVmDescription(devices.describe(4096));
    const sections = deviceSections(saved, description);
    assertEquals(sections.map(({ size }) => size), description.devices.map(({ size }) => size));
    assertEquals(sections.length, descriptions.length, `seed ${seed}`);
    sections.forEach(({ id, name, instance, version }, i) => {
      const expected = [i, `device-${i >> 1}`, i & 1, descriptions[i]!.version];
      assertEquals([id, name, instance, version], expected, `seed ${seed}`);
    });
  }
});

Deno.test("Devices.describe accounts for each byte that Devices.save wrote", () => {
  for (const seed of SEEDS) {
    const { devices } = randomMachine(new Random(seed));
    const saved = devices.save();
    const json = devices.describe(4096);
    const described = JSON.parse(json).devices as object[];
    deviceSections(saved, parseVmDescription(json)).forEach((section, i) => {
      const payload = saved.subarray(section.start, section.start + section.size);
      // It throws where a byte is not a field's or a type has another size.
      describeFields(described[i], { ...section, payload });
    });
  }
});

/** Roughly the bytes that a state takes. */
function weight(value: unknown): number {
  if (ArrayBuffer.isView(value)) return value.byteLength + 64;
  if (typeof value !== "object" || value === null) return 8;
  return Object.values(value).reduce((sum: number, each) => sum + weight(each), 64);
}

Deno.test("Devices.load meets damaged device state with a DeviceStateError or loads it", () => {
  const codes = new Set<string>();
  for (const seed of SEEDS) {
    const random = new Random(seed);
    const { descriptions, devices } = randomMachine(random);
    const good = devices.save();
    for (let tries = 0; tries < 40; tries++) {
      const bytes = damage(random, good);
      const victim = machineOf(descriptions);
      const before = weight(victim.states);
      try {
        victim.devices.load(bytes);
      } catch (error) {
        assert(error instanceof DeviceStateError, `seed ${seed}: ${error}`);
        assert(error.offset >= 0 && error.offset <= bytes.length, `seed ${seed}: ${error.message}`);
        assert(error.expected !== "" && error.found !== "", `seed ${seed}: ${error.message}`);
        assert(error.cause === undefined, `seed ${seed}: ${error.message}`);
        codes.add(error.code);
      }
      const grown = weight(victim.states) - before;
      // An element of one byte may have a fixed array of 40, a structure in it, and so on.
      assert(grown <= 1000 * bytes.length, `seed ${seed}: ${grown} of ${bytes.length} bytes`);
    }
  }
  // All but what needs a hook; a test that damages nothing would find none of them.
  for (
    const code of [
      "bad-count",
      "bad-section",
      "bad-value",
      "missing-device",
      "too-new",
      "too-old",
      "truncated",
      "unknown-device",
      "unknown-subsection",
      "wrong-size",
    ]
  ) assert(codes.has(code), `${code} is not among ${[...codes]}`);
});

Deno.test("Devices.load meets random bytes with a DeviceStateError", () => {
  for (const seed of SEEDS) {
    const random = new Random(seed);
    const { devices } = randomMachine(random);
    const bytes = random.bytes(random.between(1, 300));
    bytes[0] = random.pick([4, 4, bytes[0]!]);
    let error: unknown;
    try {
      devices.load(bytes);
    } catch (thrown) {
      error = thrown;
    }
    assert(error instanceof DeviceStateError, `seed ${seed}: ${error}`);
  }
});
