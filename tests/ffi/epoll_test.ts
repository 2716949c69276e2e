import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { Epoll } from "../../ffi/epoll.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { PollEvents } from "../../ffi/poll.ts";
import { within } from "../support/deadline.ts";

function tags(epoll: Epoll, count: number): number[] {
  return Array.from({ length: count }, (_, index) => epoll.tag(index)).sort((a, b) => a - b);
}

Deno.test("Epoll tells which descriptors are ready by their tags, and for what", () => {
  using epoll = new Epoll();
  using one = new Eventfd();
  using other = new Eventfd();
  using silent = new Eventfd();
  epoll.add(one.fd, PollEvents.IN, 7);
  epoll.add(other.fd, PollEvents.IN | PollEvents.OUT, 0xffff_fffe);
  epoll.add(silent.fd, PollEvents.IN, 9);
  one.signal();
  assertEquals(tags(epoll, epoll.wait(Infinity)), [7, 0xffff_fffe]);
  const count = epoll.wait(0);
  for (let index = 0; index < count; index++) {
    assertEquals(epoll.events(index), epoll.tag(index) === 7 ? PollEvents.IN : PollEvents.OUT);
  }
  epoll.modify(other.fd, PollEvents.IN, 3);
  epoll.remove(one.fd);
  assertEquals(epoll.wait(1000), 0);
  other.signal();
  assertEquals(tags(epoll, epoll.wait(10e9)), [3]);
});

Deno.test("Epoll refuses a descriptor twice, and forgets one that is closed", () => {
  using epoll = new Epoll();
  const event = new Eventfd();
  epoll.add(event.fd, PollEvents.IN, 1);
  const error = assertThrows(() => epoll.add(event.fd, PollEvents.IN, 2), SyscallError);
  assertEquals([error.syscall, error.code], ["epoll_ctl", "EEXIST"]);
  event.signal();
  const { fd } = event;
  event.close();
  assertEquals(epoll.wait(0), 0);
  epoll.remove(fd); // does nothing
  epoll.close();
  epoll.close();
});

Deno.test("Epoll.waitAsync waits while the event loop goes on", async () => {
  using epoll = new Epoll();
  using event = new Eventfd();
  epoll.add(event.fd, PollEvents.IN, 5);
  const waiting = epoll.waitAsync();
  await new Promise((resolve) => setTimeout(resolve)); // this thread is free
  event.signal();
  assertEquals(tags(epoll, await within("the event", waiting)), [5]);
});
