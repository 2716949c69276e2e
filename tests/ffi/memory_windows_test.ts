import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { MappedMemory, viewMemory } from "../../ffi/memory.ts";
import { MemoryReader } from "../../ffi/memory_reader.ts";
import { MemoryWindows } from "../../ffi/memory_windows.ts";

const PAGE = 4096;
const GIB = 2 ** 30;
/** Offsets of pages in 3 GiB, on both sides of each border; only these pages exist. */
const OFFSETS = [0, 7 * PAGE, GIB - PAGE, GIB, GIB + 7 * PAGE, 2 * GIB - PAGE, 2 * GIB, 3 * GIB];

function mapped(): MappedMemory {
  const memory = MappedMemory.anonymous(3 * GIB + PAGE);
  memory.adviseSmallPages();
  return memory;
}

/** What each page is full of, seen by its address; undefined where it is not full of one byte. */
function fills(memory: MappedMemory): (number | undefined)[] {
  return OFFSETS.map((offset) => {
    const bytes = viewMemory(memory.address + offset, PAGE);
    return bytes.every((byte) => byte === bytes[0]) ? bytes[0] : undefined;
  });
}

Deno.test("MemoryWindows shows every offset of memory over 1 GiB at its place, in any order", () => {
  using memory = mapped();
  const windows = new MemoryWindows(memory.address, memory.length);
  const order = [...OFFSETS.keys()].sort((a, b) => a % 3 - b % 3);
  for (const which of order) {
    const index = windows.show(OFFSETS[which]!);
    windows.bytes.fill(1 + which, index, index + PAGE);
  }
  assertEquals(fills(memory), OFFSETS.map((_, which) => 1 + which));
  for (const which of order) {
    const index = windows.show(OFFSETS[which]!);
    assertEquals(windows.bytes[index], 1 + which);
    assertEquals(windows.words[index / 4], (1 + which) * 0x01010101);
    assertEquals(windows.data.getUint8(index + PAGE - 1), 1 + which);
  }
});

Deno.test("MemoryWindows makes one view of a GiB, however often it is shown", () => {
  using memory = mapped();
  const windows = new MemoryWindows(memory.address, memory.length);
  const seen = new Set<unknown>();
  for (let round = 0; round < 3; round++) {
    for (const offset of OFFSETS) {
      windows.show(offset);
      seen.add(windows.bytes).add(windows.words).add(windows.data);
    }
  }
  assertEquals(seen.size, 4 * 3);
});

Deno.test("MemoryWindows shows nothing behind the end of its memory", () => {
  using memory = mapped();
  const windows = new MemoryWindows(memory.address, memory.length);
  const index = windows.show(3 * GIB);
  assertEquals([index, windows.bytes.length], [0, PAGE]);
});

Deno.test("MemoryReader copies pages that lie across the border of two GiB", () => {
  using memory = mapped();
  // Some address in it is a multiple of 1 GiB, whatever its own is.
  const border = Math.ceil((memory.address + PAGE) / GIB) * GIB;
  const reader = new MemoryReader();
  const words = new Int32Array(PAGE / 4 + 2);
  for (const before of [PAGE, PAGE - 4, 1001, 4, 1]) {
    const bytes = viewMemory(border - before, PAGE);
    for (let at = 0; at < PAGE; at++) bytes[at] = at * 31 + before;
    reader.copy(border - before, PAGE, words, 1);
    assertEquals(new Uint8Array(words.buffer, 4, PAGE), bytes);
    assertEquals([words[0], words[PAGE / 4 + 1]], [0, 0]);
  }
});
