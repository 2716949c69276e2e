/** Rings of virtio devices, found in their state. */
import { assert, assertEquals } from "@std/assert";
import { virtioRings } from "../../image/hot/virtio_rings.ts";
import { concat, deviceSection } from "../image/captures.ts";
import { Random } from "../support/random.ts";

const PLACES = 1024;

/** A queue as a device has it. */
interface Queue {
  readonly count: number;
  readonly descriptors: number;
  readonly available: number;
  readonly used: number;
}

/** A queue as Linux puts it: descriptors, then what it has for the device, then what comes back. */
function linuxQueue(count: number, at: number): Queue {
  const available = at + 16 * count;
  const used = Math.ceil((available + 6 + 2 * count) / 4096) * 4096;
  return { count, descriptors: at, available, used };
}

/** A device's state as QEMU writes it, from the first byte of a bus that is anything to the rings. */
function virtioState(queues: readonly Queue[], bus: Uint8Array, places = PLACES): Uint8Array {
  const head = new DataView(new ArrayBuffer(4 + queues.length * 14));
  head.setUint32(0, queues.length);
  queues.forEach(({ count, descriptors }, index) => {
    head.setUint32(4 + index * 14, count);
    head.setBigUint64(8 + index * 14, BigInt(descriptors));
  });
  const name = new TextEncoder().encode("virtio/virtqueues");
  const rings = new DataView(new ArrayBuffer(places * 16));
  queues.forEach(({ available, used }, index) => {
    rings.setBigUint64(index * 16, BigInt(available));
    rings.setBigUint64(index * 16 + 8, BigInt(used));
  });
  const part = concat(Uint8Array.of(5, name.length), name, Uint8Array.of(0, 0, 0, 1));
  return concat(bus, new Uint8Array(head.buffer), part, new Uint8Array(rings.buffer));
}

const bus = new Random(3).bytes(300);

Deno.test("virtioRings finds the rings of every device, and where Linux puts them the descriptors", () => {
  const net = [linuxQueue(256, 0x12_3000), linuxQueue(256, 0x12_8000), linuxQueue(64, 0x13_0000)];
  const block = [linuxQueue(128, 0x4_0000_0000)];
  const state = concat(
    deviceSection(3, "0000:00:02.0/virtio-net", 11, virtioState(net, bus)),
    deviceSection(4, "i8254", 3, bus),
    deviceSection(5, "0000:00:03.0/virtio-blk", 2, virtioState(block, bus)),
  );
  assertEquals(
    virtioRings(state),
    [...net, ...block].map(({ count, descriptors, available, used }) => ({
      available,
      used,
      descriptors: { start: descriptors, length: 16 * count },
    })),
  );
});

Deno.test("virtioRings knows a ring whose descriptors lie elsewhere without them", () => {
  const apart = { count: 256, descriptors: 0x55_0000, available: 0x12_3000, used: 0x12_4000 };
  const state = deviceSection(3, "virtio-mmio", 1, virtioState([apart], bus));
  assertEquals(virtioRings(state), [{ available: 0x12_3000, used: 0x12_4000 }]);
});

Deno.test("virtioRings finds none in other devices, and bears state of any bytes", () => {
  assertEquals(virtioRings(deviceSection(3, "i8254", 3, bus)), []);
  assertEquals(virtioRings(new Uint8Array(0)), []);
  const whole = virtioState([linuxQueue(256, 0x12_3000)], bus, 4);
  for (let length = 0; length < whole.length; length++) {
    const rings = virtioRings(whole.subarray(0, length));
    assert(rings.length <= 1);
  }
  const random = new Random(4);
  for (let turn = 0; turn < 200; turn++) {
    const damaged = whole.slice();
    for (let each = 0; each < 20; each++) damaged[random.below(damaged.length)] = random.u32();
    for (const { descriptors } of virtioRings(damaged)) {
      assert((descriptors?.length ?? 16) <= 32768 * 16);
    }
  }
});
