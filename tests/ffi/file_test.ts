import "../support/native.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { Eventfd } from "../../ffi/eventfd.ts";
import { fileExists, OutputFile, publishFile, removeFile } from "../../ffi/file.ts";
import { Gather } from "../../ffi/gather.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { withDirectory } from "../image/captures.ts";

const TEXT = new TextEncoder();

/** Runs with a file `from` and the names of it and of one that is not there. */
function withFile(use: (from: string, to: string) => void | Promise<void>): () => Promise<void> {
  return () =>
    withDirectory(async (directory) => {
      const from = `${directory}/from`;
      await Deno.writeTextFile(from, "new");
      await use(from, `${directory}/to`);
    });
}

Deno.test(
  "OutputFile reads back what was written, and zeros behind it",
  () =>
    withDirectory((directory) => {
      using file = OutputFile.create(`${directory}/file`);
      assertEquals(file.write(TEXT.encode("abc"), 5), 3);
      assertEquals(file.sync(), 0);
      const bytes = new Uint8Array(10).fill(9);
      file.read(bytes, 4);
      assertEquals([...bytes], [0, 97, 98, 99, 0, 0, 0, 0, 0, 0]);
      return Promise.resolve();
    }),
);

Deno.test("OutputFile.sync says what the kernel says", () => {
  // The kernel syncs no eventfd: whatever returns 0 here has not asked it.
  using event = new Eventfd();
  using file = OutputFile.borrow("event", event.fd);
  assertEquals(file.sync(), Errno.EINVAL);
});

Deno.test(
  "OutputFile does not touch a file that is there",
  withFile((from) => {
    const error = assertThrows(() => OutputFile.create(from), SyscallError);
    assertEquals([error.code, Deno.readTextFileSync(from)], ["EEXIST", "new"]);
  }),
);

Deno.test("OutputFile closed twice leaves a descriptor that was reused alone", () =>
  withDirectory((directory) => {
    const file = OutputFile.create(`${directory}/one`);
    const { fd } = file;
    file.close();
    using other = OutputFile.create(`${directory}/two`);
    assertEquals(other.fd, fd);
    file.close();
    assertEquals(other.write(TEXT.encode("x"), 0), 1);
    return Promise.resolve();
  }));

Deno.test(
  "publishFile gives a file its name",
  withFile((from, to) => {
    publishFile(from, to, false);
    assertEquals([fileExists(from), Deno.readTextFileSync(to)], [false, "new"]);
  }),
);

Deno.test(
  "publishFile replaces a file only when told so",
  withFile((from, to) => {
    Deno.writeTextFileSync(to, "old");
    const error = assertThrows(() => publishFile(from, to, false), SyscallError);
    assertEquals([error.code, Deno.readTextFileSync(to)], ["EEXIST", "old"]);
    publishFile(from, to, true);
    assertEquals([fileExists(from), Deno.readTextFileSync(to)], [false, "new"]);
  }),
);

Deno.test(
  "removeFile takes a file that is not there for removed",
  withFile((from, to) => {
    removeFile(from);
    removeFile(to);
    assertEquals([fileExists(from), fileExists(to)], [false, false]);
  }),
);

Deno.test("Gather writes its pieces one after the other", () =>
  withDirectory((directory) => {
    using file = OutputFile.create(`${directory}/file`);
    using memory = MappedMemory.anonymous(4096);
    memory.bytes().set(TEXT.encode("one two three"));
    const gather = new Gather(3);
    gather.add(memory.address + 8, 5);
    gather.add(memory.address + 3, 1);
    gather.add(memory.address, 3);
    assertEquals([gather.writeTo(file.fd, 2), gather.empty], [9, true]);
    assertEquals(Deno.readTextFileSync(file.path), "\0\0three one");
    return Promise.resolve();
  }));
