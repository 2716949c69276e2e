import "../../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { DescriptorQueue, newQueue, type QueueEnds } from "../../../ffi/descriptor_queue.ts";
import { closeDescriptor } from "../../../ffi/descriptors.ts";
import { errnoName } from "../../../ffi/errno.ts";
import { setOption, SocketOption } from "../../../ffi/socket_calls.ts";
import { Eventfd } from "../../../ffi/eventfd.ts";
import { PollEvents, PollSet } from "../../../ffi/poll.ts";
import { PouchKind, TreePouch } from "../../../client/lazy/criu/tree_pouch.ts";
import { leavingNoDescriptors } from "../../support/descriptors.ts";

/** A queue, and events whose copies are in it. */
class Queued implements Disposable {
  readonly ends: QueueEnds = newQueue();
  readonly events: Eventfd[] = [];

  /** Puts a new event's descriptor in. */
  put(pouch: TreePouch, kind: number, id: number): void {
    const event = new Eventfd();
    this.events.push(event);
    assertEquals(pouch.put(kind, id, event.fd), 0);
  }

  [Symbol.dispose](): void {
    for (const event of this.events) event.close();
    for (const fd of [this.ends.writing, this.ends.reading]) closeDescriptor(fd);
  }
}

/** Whether a descriptor is of an event: what is said by one is heard by the other. */
function isCopy(fd: number, event: Eventfd): boolean {
  event.signal();
  const set = new PollSet(1);
  set.watch(0, fd, PollEvents.IN);
  return set.wait(0) > 0;
}

Deno.test(
  "TreePouch gives all that a server put in to each that takes over, in whatever order it is dropped",
  leavingNoDescriptors(async () => {
    await Promise.resolve();
    using queued = new Queued();
    const first = new TreePouch(queued.ends);
    for (let id = 0; id < 6; id++) queued.put(first, PouchKind.PROCESS, id);
    queued.put(first, PouchKind.PLACED, 3);
    queued.put(first, PouchKind.CONNECTION, 0);
    first.dropProcess(3);
    first.dropProcess(0);
    first.dropProcess(77);
    for (let times = 0; times < 3; times++) {
      const next = new TreePouch(queued.ends);
      const taken = next.takeAll();
      const names = taken.map(({ kind, id }) => `${kind}.${id}`).sort();
      assertEquals(names, ["1.1", "1.2", "1.4", "1.5", "3.0"]);
      for (const { kind, id, fd } of taken) {
        assert(isCopy(fd, queued.events[kind === PouchKind.CONNECTION ? 7 : id]!));
        closeDescriptor(fd);
      }
      assertEquals(next.items.length, 5);
      if (times === 1) next.dropKind(PouchKind.CONNECTION);
      if (times === 1) queued.put(next, PouchKind.CONNECTION, 0);
      if (times === 1) queued.events.splice(7, 1)[0]!.close();
    }
  }),
);

Deno.test(
  "TreePouch takes what is there once, also where a server was killed while it turned or took it over",
  leavingNoDescriptors(async () => {
    await Promise.resolve();
    using queued = new Queued();
    const first = new TreePouch(queued.ends);
    queued.put(first, PouchKind.PROCESS, 1);
    queued.put(first, PouchKind.PROCESS, 2);
    // The mark of one that was killed, behind which the oldest was put and not dropped yet.
    const queue = new DescriptorQueue(queued.ends);
    assertEquals(queue.put({ kind: PouchKind.MARK, id: 12345 }, -1), 0);
    assertEquals(queue.put({ kind: PouchKind.PROCESS, id: 1 }, queued.events[0]!.fd), 0);
    const next = new TreePouch(queued.ends);
    const taken = next.takeAll();
    assertEquals(taken.map(({ id }) => id), [1, 2]);
    assertEquals(next.items.map(({ id }) => id), [1, 2]);
    for (const { fd } of taken) closeDescriptor(fd);
  }),
);

Deno.test(
  "TreePouch that is full drops what nobody is to have open any more, and keeps the rest",
  leavingNoDescriptors(async () => {
    await Promise.resolve();
    using queued = new Queued();
    setOption(queued.ends.writing, SocketOption.SEND_BUFFER, 16 * 1024);
    const pouch = new TreePouch(queued.ends);
    using event = new Eventfd();
    let count = 0;
    while (pouch.put(PouchKind.PROCESS, count, event.fd) === 0) count++;
    assert(count > 3, `room for ${count}`);
    for (const { fd } of new TreePouch(queued.ends).takeAll()) closeDescriptor(fd);
    const next = new TreePouch(queued.ends);
    const all = next.takeAll();
    assertEquals(all.length, count);
    assertEquals(next.items.length, count);
    for (const { fd } of all) closeDescriptor(fd);
    next.dropProcess(count - 1);
    next.dropProcess(1);
    const taken = new TreePouch(queued.ends).takeAll();
    const ids = taken.map(({ id }) => id).sort((one, other) => one - other);
    const kept = Array.from({ length: count }, (_, id) => id);
    assertEquals(ids, kept.filter((id) => id !== 1 && id !== count - 1));
    for (const { fd } of taken) closeDescriptor(fd);
  }),
);

Deno.test(
  "DescriptorQueue says that there is no room, and keeps what is in it",
  leavingNoDescriptors(async () => {
    await Promise.resolve();
    using queued = new Queued();
    using event = new Eventfd();
    setOption(queued.ends.writing, SocketOption.SEND_BUFFER, 64 * 1024);
    const queue = new DescriptorQueue(queued.ends);
    let put = 0;
    let code = 0;
    while ((code = queue.put({ kind: 1, id: put }, event.fd)) === 0) put++;
    assert(put > 10, `room for ${put}`);
    assertEquals(errnoName(code), "EAGAIN");
    for (let id = 0; id < put; id++) {
      const item = queue.first()!;
      closeDescriptor(item.fd);
      assertEquals(item.id, id);
      queue.pop();
    }
    assertEquals(queue.first(), undefined);
  }),
);
