import { assertEquals, assertThrows } from "@std/assert";
import {
  array,
  bool,
  bytes,
  counted,
  countedBytes,
  type Description,
  description,
  Devices,
  newState,
  safeU64,
  since,
  struct,
  u16,
  u32,
  u64,
  u8,
  unused,
} from "../../migration/device/mod.ts";

const QUEUE = description({
  name: "queue",
  version: 1,
  fields: { head: u16, ring: safeU64, cookie: u64 },
});
const NET = description({
  name: "net",
  version: 2,
  minimumVersion: 1,
  fields: {
    mac: bytes(6),
    gap: unused(2),
    active: u8,
    up: bool,
    queues: counted(struct(QUEUE), "active", 4),
    filters: array(u32, 2),
    speed: since(2, u32),
    extra: u16,
  },
  when: { extra: (state, version) => state.up && version > 1 },
  subsections: [
    description({
      name: "net/mirror",
      version: 1,
      fields: { length: u16, mirror: countedBytes("length", 100) },
      needed: ({ length }) => length > 0,
    }),
  ],
});

/** True when the two types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;
/** Makes an intersection of object types one. */
type Flat<T> = { [K in keyof T]: T[K] };
type StateIn<D> = D extends Description<infer S> ? Flat<S> : never;

interface NetState {
  mac: Uint8Array;
  active: number;
  up: boolean;
  queues: { head: number; ring: number; cookie: bigint }[];
  filters: Uint32Array;
  speed: number;
  extra: number;
  length: number;
  mirror: Uint8Array;
}

Deno.test("description infers the type of the state from its fields and subsections", () => {
  const same: Same<StateIn<typeof NET>, Flat<NetState>> = true;
  assertEquals(same, true);
});

Deno.test("description checks a type that a hook names against the fields", () => {
  class Queue {
    head = 0;
    kicks = 0;
    kick(): void {
      this.kicks++;
    }
  }
  const queue = description({
    name: "queue",
    version: 1,
    fields: { head: u16 },
    postLoad: (device: Queue) => device.kick(),
  });
  const same: Same<StateIn<typeof queue>, Flat<Queue>> = true;
  assertEquals(same, true);
  const state = new Queue();
  const devices = new Devices();
  devices.add({ name: "queue", description: queue, state });
  devices.load(devices.save());
  assertEquals(state.kicks, 1);
  interface Other {
    head: string;
  }
  description({
    name: "queue",
    version: 1,
    fields: { head: u16 },
    // @ts-expect-error: the field is a number, the state's a string
    postLoad: (_device: Other) => {},
  });
});

Deno.test("Devices.add takes only a state that the description fits", () => {
  const devices = new Devices();
  // A class with more than the fields will do.
  class WithMore {
    head = 0;
    ring = 0;
    cookie = 0n;
    name = "tx";
  }
  devices.add({ name: "a", description: QUEUE, state: new WithMore() });
  // @ts-expect-error: cookie is missing
  devices.add({ name: "b", description: QUEUE, state: { head: 0, ring: 0 } });
  // @ts-expect-error: ring is a number
  devices.add({ name: "c", description: QUEUE, state: { head: 0, ring: 0n, cookie: 0n } });
  // @ts-expect-error: there is no such field
  description({ name: "d", version: 1, fields: { head: u16 }, when: { tail: () => true } });
});

Deno.test("newState makes a state of zeros that can be saved", () => {
  const state = newState(NET);
  assertEquals(state, {
    mac: new Uint8Array(6),
    active: 0,
    up: false,
    queues: [],
    filters: new Uint32Array(2),
    speed: 0,
    extra: 0,
    length: 0,
    mirror: new Uint8Array(0),
  });
  const devices = new Devices();
  devices.add({ name: "net", description: NET, state });
  devices.save();
});

Deno.test("description refuses names, versions and counters that do not fit", () => {
  const fields = { a: u8 };
  const needed = () => true;
  const bad: (readonly [string, () => unknown])[] = [
    ["versions", () => description({ name: "n", version: -1, fields })],
    ["minimum version", () => description({ name: "n", version: 1, minimumVersion: 2, fields })],
    ["begin with a letter", () => description({ name: "n", version: 1, fields: { 0: u8 } })],
    ["since", () => description({ name: "n", version: 1, fields: { a: since(2, u8) } })],
    [
      "number before it",
      () => description({ name: "n", version: 1, fields: { a: countedBytes("b", 9), b: u8 } }),
    ],
    [
      "number before it",
      () => description({ name: "n", version: 1, fields: { b: u64, a: countedBytes("b", 9) } }),
    ],
    ["1 to 255", () => description({ name: "n".repeat(255), version: 1, fields })],
    [
      "n/something",
      () =>
        description({
          name: "n",
          version: 1,
          fields,
          subsections: [description({ name: "m/x", version: 1, fields, needed })],
        }),
    ],
    [
      "twice",
      () => {
        const part = description({ name: "n/x", version: 1, fields, needed });
        return description({ name: "n", version: 1, fields, subsections: [part, part] });
      },
    ],
    [
      'without "needed"',
      () =>
        description({
          name: "n",
          version: 1,
          fields,
          subsections: [description({ name: "n/x", version: 1, fields })],
        }),
    ],
    ["outside 1 to 1", () => struct(QUEUE, 2)],
    ["no bytes", () => {
      const empty = description({ name: "n", version: 1, fields, when: { a: () => false } });
      return counted(struct(empty), "b", 9);
    }],
    ["whole number", () => bytes(-1)],
    ["wrap it", () => array(bytes(2), 2)],
  ];
  for (const [text, make] of bad) assertThrows(make, RangeError, text);
});
