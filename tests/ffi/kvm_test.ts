import "../support/native.ts";
import { assertEquals, assertGreater, assertStringIncludes, assertThrows } from "@std/assert";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { kvmAbsence, KvmAbsentError, KvmMachine } from "../../ffi/kvm.ts";
import { MappedMemory } from "../../ffi/memory.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { skipReason, testUnless } from "../support/skip.ts";

const absence = kvmAbsence();
const needsDevice = absence === undefined ? undefined : skipReason("no support", absence);

function leavingNone(test: () => void): () => Promise<void> {
  return leavingNoDescriptors(() => {
    test();
    return Promise.resolve();
  });
}

Deno.test(
  "KvmMachine says why KVM is absent, and what to do",
  leavingNone(() => {
    const missing = assertThrows(() => new KvmMachine("/dev/no-kvm"), KvmAbsentError);
    assertEquals(missing.code, "KVM_ABSENT");
    assertStringIncludes(
      missing.message,
      "No KVM at /dev/no-kvm: ENOENT: load the module kvm_intel",
    );
    assertEquals(kvmAbsence("/dev/no-kvm"), missing.message);
    assertEquals(kvmAbsence("/dev/null"), "No KVM at /dev/null: ENOTTY: it is another device");
  }),
);

Deno.test("KvmAbsentError names the group kvm to a user who may not open the device", () => {
  assertEquals(
    new KvmAbsentError("/dev/kvm", { errno: Errno.EACCES }).message,
    "No KVM at /dev/kvm: EACCES: give this user read and write permission, usually by the group kvm",
  );
});

testUnless(
  needsDevice,
  "KvmMachine is closed once, by close or at the end of its scope",
  leavingNone(() => {
    using machine = new KvmMachine();
    assertGreater(machine.fd, 0);
    machine.close();
    machine.close();
    assertEquals(machine.fd, -1);
    const error = assertThrows(() => machine.deleteSlot(0), SyscallError);
    assertEquals(error.code, "EBADF");
  }),
);

testUnless(
  needsDevice,
  "KvmMachine.setSlot refuses addresses that another slot has, and slots past the limit",
  leavingNone(() => {
    using machine = new KvmMachine();
    using memory = MappedMemory.anonymous(16 * 4096);
    machine.setSlot(3, 0x1000_0000, memory.address, 16 * 4096);
    const overlap = assertThrows(
      () => machine.setSlot(4, 0x1000_f000, memory.address, 4096),
      SyscallError,
    );
    assertEquals([overlap.syscall, overlap.code], ["KVM_SET_USER_MEMORY_REGION", "EEXIST"]);
    assertStringIncludes(overlap.message, "slot 4, 4096 bytes at 0x1000f000");
    const past = assertThrows(
      () => machine.setSlot(machine.slotLimit, 0, memory.address, 4096),
      SyscallError,
    );
    assertEquals(past.code, "EINVAL");
    machine.deleteSlot(3);
    machine.setSlot(4, 0x1000_f000, memory.address, 4096);
    assertEquals(assertThrows(() => machine.deleteSlot(3), SyscallError).code, "EINVAL");
  }),
);

testUnless(
  needsDevice,
  "KvmMachine moves a slot whose guest-physical address alone changes",
  leavingNone(() => {
    using machine = new KvmMachine();
    using memory = MappedMemory.anonymous(4096);
    machine.setSlot(0, 0x1000, memory.address, 4096);
    machine.setSlot(0, 2 ** 32, memory.address, 4096);
    machine.setSlot(1, 0x1000, memory.address, 4096);
    assertEquals(
      assertThrows(() => machine.setSlot(2, 2 ** 32, memory.address, 4096), SyscallError).code,
      "EEXIST",
    );
  }),
);
