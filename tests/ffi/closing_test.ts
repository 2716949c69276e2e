import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { Eventfd } from "../../ffi/eventfd.ts";
import { MappedFile } from "../../ffi/mapped_file.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import { Userfaultfd } from "../../ffi/userfaultfd.ts";
import { closeAgainAndAgain, type Resource } from "../support/closing.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";

const RESOURCES: Record<string, () => Resource | MappedMemory> = {
  Eventfd: () => new Eventfd(),
  Userfaultfd: () => new Userfaultfd(),
  "MappedMemory of anonymous memory": () => MappedMemory.anonymous(8192),
  "MappedMemory of a memfd": () => MappedMemory.memfd(8192, "test"),
  "MappedFile": () => MappedFile.open(new URL(import.meta.url).pathname, 100),
};
for (const [name, make] of Object.entries(RESOURCES)) {
  Deno.test(
    `${name} is closed twice without harm`,
    leavingNoDescriptors(() => {
      const resource = make();
      closeAgainAndAgain(resource, resource instanceof MappedMemory ? [resource] : []);
      return Promise.resolve();
    }),
  );
}

Deno.test(
  "Listener and Socket are closed twice without harm",
  leavingNoDescriptors(async () => {
    const listener = await Listener.listen(LOOPBACK);
    const client = await Socket.connect(listener.address);
    const served = await listener.accept();
    for (const resource of [listener, client, served]) closeAgainAndAgain(resource);
    assertEquals([listener.fd, client.fd, served.fd], [-1, -1, -1]);
    client.shutdown();
  }),
);

Deno.test("Eventfd does nothing when it is signalled after it was closed", () => {
  const event = new Eventfd();
  event.close();
  event.signal();
  assertEquals(event.fd, -1);
});

Deno.test("MappedMemory gives no view of memory that is closed", () => {
  const memory = MappedMemory.anonymous(4096);
  memory.close();
  assertThrows(() => memory.bytes(), Error, "Memory is closed");
});

Deno.test("MappedMemory that was released stays mapped until whoever adopts it closes it", () => {
  const memory = MappedMemory.memfd(4096, "test");
  memory.bytes()[7] = 42;
  const { address, length, fd } = memory;
  memory.release();
  memory.close();
  const adopted = MappedMemory.adopt(address, length, fd);
  assertEquals(adopted.bytes()[7], 42);
  closeAgainAndAgain(adopted);
});
