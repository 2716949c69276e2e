/**
 * Speed of device state: `deno bench tests/device/device_load_bench.ts`. An iteration of the first three
 * is 64 devices of 16 queues each, 20992 values in all.
 */
import {
  array,
  bool,
  bytes,
  counted,
  description,
  Devices,
  newState,
  safeU64,
  struct,
  u16,
  u32,
  u64,
  u8,
} from "../../migration/device/mod.ts";

const QUEUES = 16;

const QUEUE = description({
  name: "queue",
  version: 1,
  fields: {
    size: u32,
    align: u32,
    descriptors: safeU64,
    available: safeU64,
    used: safeU64,
    lastAvailable: u16,
    usedIndex: u16,
    signalled: u16,
    signalledValid: bool,
    enabled: bool,
    vector: u16,
    notification: u8,
    inUse: u32,
    resampled: u32,
    cookie: u32,
    flags: u16,
    phase: u8,
    wrap: bool,
    event: u16,
    handler: u32,
  },
});
const NET = description({
  name: "net",
  version: 1,
  fields: {
    config: bytes(256),
    features: u64,
    status: u8,
    queueSelect: u16,
    mac: bytes(6),
    mtu: u16,
    link: bool,
    count: u16,
    queues: counted(struct(QUEUE), "count", 1024),
  },
});
const TABLES = description({
  name: "tables",
  version: 1,
  fields: { words: array(u16, 10_000), longs: array(u64, 10_000), raw: bytes(100_000) },
});

function network(): Devices {
  const devices = new Devices();
  for (let instance = 0; instance < 64; instance++) {
    const state = newState(NET);
    state.count = QUEUES;
    state.queues = Array.from({ length: QUEUES }, () => newState(QUEUE));
    devices.add({ name: "net", instance, description: NET, state });
  }
  return devices;
}

const devices = network();
const saved = devices.save();
const tables = new Devices();
tables.add({ name: "tables", description: TABLES, state: newState(TABLES) });
const savedTables = tables.save();

Deno.bench("Devices.load, 64 devices of 16 queues", () => devices.load(saved));
Deno.bench("Devices.save, 64 devices of 16 queues", () => {
  devices.save();
});
Deno.bench("Devices.describe, 64 devices of 16 queues", () => {
  devices.describe(4096);
});
Deno.bench(
  "Devices.load, arrays of 20000 elements and 100000 bytes",
  () => tables.load(savedTables),
);
