/** Looks which pages of some blocks are there, without touching one that is not: by mincore(2). */

import type { GuestBlock } from "../../migration/memory/guest_block.ts";

const scope = self as unknown as {
  onmessage: ((event: MessageEvent<readonly GuestBlock[]>) => void) | null;
  postMessage(pages: readonly number[]): void;
};

scope.onmessage = ({ data: blocks }) => {
  const libc = Deno.dlopen("libc.so.6", {
    mincore: { parameters: ["u64", "u64", "buffer"], result: "i32" },
  });
  const present: number[] = [];
  let first = 0;
  for (const { address, length } of blocks) {
    const vector = new Uint8Array(length / 4096);
    if (libc.symbols.mincore(BigInt(address), BigInt(length), vector) !== 0) {
      throw new Error("mincore failed");
    }
    vector.forEach((byte, page) => {
      if ((byte & 1) !== 0) present.push(first + page);
    });
    first += vector.length;
  }
  libc.close();
  scope.postMessage(present);
};
