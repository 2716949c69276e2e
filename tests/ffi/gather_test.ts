import "../support/native.ts";
import { assert, assertEquals, assertGreater, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { Errno } from "../../ffi/errno.ts";
import { Gather, MAX_PIECES } from "../../ffi/gather.ts";
import { MappedFile } from "../../ffi/mapped_file.ts";
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

Deno.test("Gather copies pieces in order, as far as there is room, and goes on where it stopped", () => {
  const random = new Random(9);
  using memory = MappedMemory.anonymous(1 << 20);
  const bytes = memory.bytes();
  bytes.set(random.bytes(1 << 20));
  using target = MappedMemory.anonymous(3 * 4096);
  const gather = new Gather(MAX_PIECES);
  for (let round = 0; round < 12; round++) {
    gather.clear();
    const expected: Uint8Array[] = [];
    for (let piece = 0; piece < 200; piece++) {
      const length = random.oneIn(8) ? 0 : random.between(1, random.oneIn(2) ? 40 : 9000);
      const offset = random.below((1 << 20) - length);
      gather.add(memory.address + offset, length);
      expected.push(bytes.slice(offset, offset + length));
    }
    const found: Uint8Array[] = [];
    while (!gather.empty) {
      // Anywhere on its pages.
      const at = random.below(4096);
      const room = random.between(1, 2 * 4096);
      target.bytes().fill(0);
      const copied = gather.copyTo(target.address + at, room);
      assert(copied === room || copied >= 0 && gather.empty, `${copied} of ${room}`);
      found.push(target.bytes().slice(at, at + copied));
      assert(target.bytes().subarray(at + copied).every((byte) => byte === 0));
    }
    assertEquals(Buffer.concat(found).compare(Buffer.concat(expected)), 0);
  }
});

Deno.test("Gather copies what is in front of a piece that cannot be read, and then says EFAULT", async () => {
  const path = await Deno.makeTempFile();
  try {
    await Deno.writeFile(path, new Uint8Array(2 * 4096).fill(7));
    using file = MappedFile.open(path, 2 * 4096);
    using target = MappedMemory.anonymous(3 * 4096);
    const gather = new Gather(3);
    gather.add(file.address, 100);
    gather.add(file.address + 4000, 200);
    gather.add(file.address, 100);
    await Deno.truncate(path, 4096); // as an image that is cut while it is served
    assertEquals(gather.copyTo(target.address, target.length), 100 + 96);
    assertEquals(gather.copyTo(target.address, target.length), -Errno.EFAULT);
    assertEquals(target.bytes().subarray(0, 197).lastIndexOf(7), 195);
  } finally {
    await Deno.remove(path);
  }
});
