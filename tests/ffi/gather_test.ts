import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertThrows } from "@std/assert";
import { Errno } from "../../ffi/errno.ts";
import { Gather, MAX_PIECES } from "../../ffi/gather.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import { receiveInto } from "../../ffi/socket_calls.ts";
import { Random } from "../support/random.ts";

/**
 * Two ends of a connection whose buffers are as small as the kernel allows. Not TCP: there a window of
 * a few bytes opens again after 200 ms.
 */
async function narrowPair(): Promise<{ from: Socket; to: Socket } & Disposable> {
  const path = await Deno.makeTempFile();
  await Deno.remove(path);
  using listener = await Listener.listen({ transport: "unix", path });
  const from = await Socket.connect(listener.address);
  const to = await listener.accept();
  from.setSendBuffer(1);
  to.setReceiveBuffer(1);
  return {
    from,
    to,
    [Symbol.dispose]() {
      from.close();
      to.close();
    },
  };
}

Deno.test("Gather sends pieces of all sizes in order through a socket that takes a few bytes at a time", async () => {
  const random = new Random(8);
  using memory = MappedMemory.anonymous(1 << 20);
  const bytes = memory.bytes();
  bytes.set(random.bytes(1 << 20));
  using pair = await narrowPair();
  const gather = new Gather(64);
  for (let round = 0; round < 12; round++) {
    gather.clear();
    const expected: Uint8Array[] = [];
    const pieces = random.between(1, 64);
    for (let piece = 0; piece < pieces; piece++) {
      const length = random.oneIn(8) ? 0 : random.between(1, random.oneIn(2) ? 40 : 9000);
      const offset = random.below((1 << 20) - length);
      gather.add(memory.address + offset, length);
      expected.push(bytes.slice(offset, offset + length));
    }
    assertEquals(gather.count, pieces);
    const found: Uint8Array[] = [];
    const buffer = new Uint8Array(4096);
    const total = expected.reduce((sum, { length }) => sum + length, 0);
    let received = 0;
    let partial = 0;
    let sent = false;
    while (received < total) {
      if (!sent) {
        const outcome = gather.send(pair.from.fd);
        assert(outcome === 0 || outcome === Errno.EAGAIN, `${outcome}`);
        sent = outcome === 0;
        if (!sent) partial++;
      }
      const count = receiveInto(pair.to.fd, buffer, random.between(1, 4096));
      if (count < 0) continue;
      found.push(buffer.slice(0, count));
      received += count;
    }
    assert(sent || gather.send(pair.from.fd) === 0);
    if (total > 100_000) assertGreater(partial, 0);
    assertEquals(
      await new Blob(found as BlobPart[]).bytes(),
      await new Blob(expected as BlobPart[]).bytes(),
    );
  }
});

Deno.test("Gather returns the errno when the peer has gone", async () => {
  using pair = await narrowPair();
  using memory = MappedMemory.anonymous(4096);
  pair.to.close();
  const gather = new Gather(1);
  let outcome = 0;
  // The first bytes are answered by a reset.
  while (outcome === 0 || outcome === Errno.EAGAIN) {
    gather.clear();
    gather.add(memory.address, 4096);
    outcome = gather.send(pair.from.fd);
  }
  assert(outcome === Errno.EPIPE || outcome === Errno.ECONNRESET, `${outcome}`);
});

Deno.test("Gather is full with its capacity and takes no more than the kernel does", () => {
  const gather = new Gather(2);
  gather.add(4096, 1);
  assertEquals(gather.full, false);
  gather.add(4096, 1);
  assertEquals(gather.full, true);
  gather.clear();
  assertEquals(gather.full, false);
  assertThrows(() => new Gather(MAX_PIECES + 1), RangeError, "More than 1024 pieces");
});
