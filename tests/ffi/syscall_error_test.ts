import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { errnoName, SyscallError } from "../../ffi/errno.ts";
import { MappedFile } from "../../ffi/mapped_file.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { Listener } from "../../ffi/listener.ts";
import { Socket } from "../../ffi/socket.ts";
import { Userfaultfd } from "../../ffi/userfaultfd.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { ScriptProcess } from "../support/processes.ts";
import { firstOf, needsRoot, skipReason, testUnless } from "../support/skip.ts";
import type { AsNobody } from "./as_nobody.ts";

Deno.test("SyscallError names the call, the errno, what was attempted and what to do", () => {
  const cause = new Error("before");
  const error = new SyscallError("connect", 111, "to tcp:h:1", "see that it listens", { cause });
  assertEquals(error.message, "connect failed with ECONNREFUSED: to tcp:h:1: see that it listens");
  assertEquals([error.name, error.syscall, error.code, error.errno, error.cause], [
    "SyscallError",
    "connect",
    "ECONNREFUSED",
    111,
    cause,
  ]);
  assertEquals(new SyscallError("eventfd", 24).message, "eventfd failed with EMFILE");
});

Deno.test("errnoName gives the number of an errno without a name here", () => {
  assertEquals(errnoName(1), "EPERM");
  assertEquals(errnoName(4095), "errno 4095");
});

Deno.test("MappedFile.open names the file that is not there", () => {
  const error = assertThrows(() => MappedFile.open("/nosuch/image", 4096), SyscallError);
  assertEquals(error.message, "open failed with ENOENT: /nosuch/image");
});

Deno.test("MappedMemory.anonymous says how much was too much", () => {
  const error = assertThrows(() => MappedMemory.anonymous(2 ** 47), SyscallError);
  assertEquals(error.message, "mmap failed with ENOMEM: 140737488355328 bytes of anonymous memory");
});

Deno.test("Listener.listen says which address is in use", async () => {
  using listener = await Listener.listen(LOOPBACK);
  const error = await assertRejects(() => Listener.listen(listener.address), SyscallError);
  assertMatch(
    error.message,
    /^bind failed with EADDRINUSE: tcp:127\.0\.0\.1:\d+: another program listens there$/,
  );
});

Deno.test("Socket.connect says who refuses and what to look at", async () => {
  const listener = await Listener.listen(LOOPBACK);
  listener.close();
  const error = await assertRejects(() => Socket.connect(listener.address), SyscallError);
  assertMatch(
    error.message,
    /^connect failed with ECONNREFUSED: to tcp:127\.0\.0\.1:\d+: see that/,
  );
});

testUnless(needsRoot(), "Userfaultfd that cannot have a feature says so", () => {
  const error = assertThrows(() => new Userfaultfd({ features: 1n << 60n }), SyscallError);
  assertEquals([error.syscall, error.code], ["UFFDIO_API", "EINVAL"]);
  assertMatch(error.message, /features 0x1000000000000000: this kernel lacks one of them/);
});

const granted = () =>
  Deno.readTextFileSync("/proc/sys/vm/unprivileged_userfaultfd").trim() === "0"
    ? undefined
    : skipReason("no support", "vm.unprivileged_userfaultfd grants everything to everybody");

testUnless(
  firstOf(needsRoot(), granted()),
  "Userfaultfd of an unprivileged user takes faults of user mode alone, or says what would grant more",
  async () => {
    await using process = new ScriptProcess("tests/ffi/as_nobody.ts", []);
    const { code, output, errors } = await process.ended;
    assertEquals({ code, errors }, { code: 0, errors: "" });
    assertEquals(JSON.parse(output) as AsNobody, {
      uid: 65534,
      allowed: "user mode only",
      full:
        "userfaultfd failed with EPERM: run as root, set sysctl vm.unprivileged_userfaultfd=1, " +
        "or give access to /dev/userfaultfd",
      code: "EPERM",
      syscall: "userfaultfd",
    });
  },
);

const withDevice = () => {
  try {
    Deno.statSync("/dev/userfaultfd");
    return undefined;
  } catch {
    return skipReason("no support", "No /dev/userfaultfd here: it came with Linux 6.1");
  }
};

for (const code of ["ENOSYS", "EPERM"]) {
  testUnless(
    firstOf(needsRoot(), withDevice()),
    `Userfaultfd takes the device where a seccomp filter refuses the system call with ${code}`,
    async () => {
      await using process = new ScriptProcess("tests/ffi/filtered_userfaultfd.ts", [code]);
      const { output, errors } = await process.ended;
      assertEquals({ output, errors }, { output: '"full"', errors: "" });
    },
  );

  testUnless(
    firstOf(needsRoot(), withDevice()),
    `Userfaultfd that a seccomp filter refuses with ${code}, and the device too, names both`,
    async () => {
      await using process = new ScriptProcess("tests/ffi/filtered_userfaultfd.ts", [
        code,
        "nobody",
      ]);
      const { output, errors } = await process.ended;
      assertEquals(errors, "");
      assertMatch(
        JSON.parse(output),
        new RegExp(
          `^userfaultfd failed with ${code}: a seccomp filter of this container or service may ` +
            "refuse it, and /dev/userfaultfd fails with EACCES: give access to that ",
        ),
      );
    },
  );
}
