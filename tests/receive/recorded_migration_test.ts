/** Migrations of real QEMU, recorded byte by byte, received again. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { Socket } from "../../ffi/socket.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import {
  RamDecoder,
  ReturnPathDecoder,
  ReturnPathEncoder,
  StreamDecoder,
} from "../../migration/protocol/mod.ts";
import { openImage } from "../../image/open_image.ts";
import { withDirectory } from "../image/captures.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { readRecording } from "../support/fixtures.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { CAPTURES, WIRES } from "../support/recorded.ts";
import { needsRecording, testUnless } from "../support/skip.ts";
import { assertImageMemory, type MemoryModel, ModelChannel } from "./memory_model.ts";

/** What a source sends. */
interface Recorded {
  readonly main: Uint8Array;
  readonly preempt?: Uint8Array;
}

/** Sends a recording as its source did: urgent pages once the device state is there, and ends last. */
async function play(to: SocketAddress, { main, preempt }: Recorded): Promise<void> {
  using channel = await Socket.connect(to);
  using urgent = preempt === undefined ? undefined : await Socket.connect(to);
  const loaded = Promise.withResolvers<void>();
  const over = Promise.withResolvers<void>();
  const path = new ReturnPathEncoder();
  const decoder = new ReturnPathDecoder(
    Object.assign(path, {
      pong: (value: number) => value === 3 && loaded.resolve(),
      shut: () => over.resolve(),
    }),
  );
  const hearing = (async () => {
    const answers = new Uint8Array(4096);
    for (let count = -1; count !== 0;) {
      count = await channel.receive(answers);
      decoder.feed(answers.subarray(0, count));
    }
  })().catch(() => {}).finally(() => [loaded, over].forEach(({ resolve }) => resolve()));
  await channel.sendAll(main);
  if (preempt !== undefined) {
    await loaded.promise;
    await urgent!.sendAll(preempt);
    await over.promise;
  }
  channel.shutdown();
  await hearing;
}

function memoryOf({ main, preempt }: Recorded): MemoryModel {
  const model = new ModelChannel();
  new StreamDecoder(model).feed(main);
  if (preempt !== undefined) new RamDecoder(new ModelChannel(model.blocks)).feed(preempt);
  return model.blocks;
}

/** Receives a recording and compares every page. */
async function receiveRecording(recorded: Recorded): Promise<void> {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await using receiver = new ImageReceiver({ path });
    const to = await receiver.listen(LOOPBACK);
    await within("the image", Promise.all([play(to, recorded), receiver.finished]));
    await receiver.close();
    const { pages, received, remaining, unnamed, duplicates } = receiver.statistics();
    assertEquals([received, remaining, unnamed, duplicates], [pages, 0, 0, 0]);
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["image"]);
    using image = await openImage(path);
    assertImageMemory(image, memoryOf(recorded));
    const { normal } = receiver.statistics();
    assertEquals(image.counts!.reduce((sum, { data }) => sum + data, 0), normal);
  });
}

for (const { path } of CAPTURES) {
  testUnless(
    needsRecording(path),
    `ImageReceiver gives every page of the precopy stream ${path}`,
    leavingNoDescriptors(() => receiveRecording({ main: readRecording(path) })),
  );
}

for (const { directory: path } of WIRES) {
  testUnless(
    needsRecording(path),
    `ImageReceiver gives every page of the postcopy migration ${path}, both channels`,
    leavingNoDescriptors(() =>
      receiveRecording({
        main: readRecording(`${path}/conn0.s2d.zst`),
        preempt: readRecording(`${path}/conn1.s2d.zst`),
      })
    ),
  );
}
