/** The memory of a guest as its QEMU holds it: all of every RAM block, whatever the guest maps where. */

import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import type { Qemu } from "../../qemu/qemu.ts";

/** Guest physical addresses where a PC has a block, for a QEMU that does not list its own addresses. */
const PLACES: Readonly<Record<string, (length: number) => number>> = {
  "pc.ram": () => 0,
  "pc.bios": (length) => 2 ** 32 - length,
};

/**
 * Reads the RAM blocks of a QEMU out of its process; needs root, and a guest that does not run.
 *
 * @param qemu any; before version 8.0, which does not say where they are, only `pc.ram` and `pc.bios`
 * @returns the used part of each block, by name
 */
export async function readRamBlocks(qemu: Qemu): Promise<Map<string, Uint8Array>> {
  const found = new Map<string, Uint8Array>();
  using memory = await Deno.open(`/proc/${qemu.pid}/mem`);
  // Block Name, PSize (two words), Offset, Used, Total, and from 8.0 on HVA and RO.
  for (const line of (await qemu.monitor("info ramblock")).split("\n").slice(1)) {
    const [name, , , , used, , address] = line.trim().split(/\s+/);
    if (name === undefined || used === undefined) continue;
    const length = Number(used);
    const from = address === undefined ? await addressOf(qemu, name, length) : Number(address);
    if (from === undefined) continue;
    await memory.seek(from, Deno.SeekMode.Start);
    const bytes = new Uint8Array(length);
    for (let at = 0; at < length;) {
      const count = await memory.read(bytes.subarray(at));
      if (count === null) throw new Error(`Memory of ${name} ends at byte ${at}`);
      at += count;
    }
    found.set(name, bytes);
  }
  return found;
}

/** Compares every byte of every block that QEMU holds with what it should hold. */
export async function assertSameMemory(
  qemu: Qemu,
  blocks: ReadonlyMap<string, Uint8Array>,
): Promise<void> {
  const found = await readRamBlocks(qemu);
  assert(found.size > 0, "No block was compared");
  if (qemu.atLeast(8, 0)) assertEquals([...found.keys()].sort(), [...blocks.keys()].sort());
  for (const [name, bytes] of found) {
    const wanted = blocks.get(name)!;
    assertEquals(bytes.length, wanted?.length, name);
    if (Buffer.compare(bytes, wanted) === 0) continue;
    const at = bytes.findIndex((byte, index) => byte !== wanted[index]);
    throw new Error(`Block ${name} differs from the image at byte ${at}`);
  }
}

async function addressOf(qemu: Qemu, name: string, length: number): Promise<number | undefined> {
  const place = PLACES[name]?.(length);
  if (place === undefined) return undefined;
  const answer = await qemu.monitor(`gpa2hva ${place}`);
  const match = /\((.+)\) is (0x[0-9a-f]+)/.exec(answer);
  if (match?.[1] !== name) throw new Error(`Block ${name} is not at ${place}: ${answer}`);
  return Number(match[2]);
}
