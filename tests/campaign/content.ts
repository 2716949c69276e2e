/** What a run's guest remembers: zero pages, pages that compress, and noise. */

import { encodeWorkloadState } from "../../workload/device_state.ts";
import { writeRawDescription } from "../../image/raw/raw_description.ts";
import { Random } from "../support/random.ts";
import type { Plan } from "./draw.ts";

const PAGE = 4096;

/** The memory of all blocks, one after the other, in shared memory. */
export function drawContent(plan: Plan): Uint8Array<SharedArrayBuffer> {
  const random = new Random(plan.seed ^ 0x5eed);
  const pages = plan.blocks.reduce((sum, block) => sum + block.pages, 0);
  const bytes = new Uint8Array(new SharedArrayBuffer(pages * PAGE));
  const words = new Int32Array(bytes.buffer);
  const zeros = random.between(2, 6);
  for (let page = 0; page < pages; page++) {
    const at = page * 1024;
    if (random.oneIn(zeros)) continue;
    if (random.oneIn(3)) words.fill(random.u32() | 1, at, at + 1024);
    else if (random.oneIn(4)) words[at + random.below(1024)] = 1; // all but a zero page
    else {
      let word = random.u32() | 1;
      for (let index = 0; index < 1024; index++) {
        word ^= word << 13;
        word ^= word >>> 17;
        word ^= word << 5;
        words[at + index] = word;
      }
    }
  }
  return bytes;
}

/** Whole seconds, so that the time can be given back to a file as it was. */
const SAVED_AT = 1_700_000_000;

/** Writes content as a raw image. Returns its name. */
export async function writeImage(
  directory: string,
  plan: Plan,
  content: Uint8Array<SharedArrayBuffer>,
): Promise<string> {
  const path = `${directory}/image`;
  Deno.writeFileSync(path, content.slice());
  const pages = content.length / PAGE;
  Deno.writeFileSync(`${path}.devices`, encodeWorkloadState({ seed: 1, zeroEvery: 2, pages }));
  let offset = 0;
  const blocks = plan.blocks.map(({ name, pages }) => {
    const block = { name, offset, length: pages * PAGE };
    offset += block.length;
    return block;
  });
  await writeRawDescription(path, {
    machine: plan.machine,
    targetPageSize: PAGE,
    blocks,
    devices: "image.devices",
  });
  setSavedTime(path);
  return path;
}

/** Gives an image the time that it had. */
export function setSavedTime(path: string): void {
  Deno.utimeSync(path, SAVED_AT, SAVED_AT);
}
