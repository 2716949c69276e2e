import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { keepOffGuestCpu, placeVcpu, vcpuThread } from "../../bench/disruption/placement.ts";
import { Qemu } from "../../qemu/qemu.ts";
import { qemuFromEnvironment, whyNoQemu } from "../../qemu/qemu_binary.ts";
import { firstOf, needsCommand, skipReason, testUnless } from "../support/skip.ts";

const reason = await whyNoQemu(qemuFromEnvironment());
const oneCpu = navigator.hardwareConcurrency > 1
  ? undefined
  : skipReason("no support", "this machine has one processor");
const skip = firstOf(needsCommand("taskset", "util-linux"), oneCpu);
const skipQemu = firstOf(
  skip,
  reason === undefined ? undefined : skipReason("missing package", reason),
);

function cpusOf(task: string): string {
  const status = Deno.readTextFileSync(`/proc/${task}/status`);
  return /^Cpus_allowed_list:\s*(\S+)$/m.exec(status)![1]!;
}

testUnless(
  skipQemu,
  "placeVcpu moves the guest's processor alone, and only if it is to be",
  async () => {
    await using qemu = await Qemu.start({ stopped: true });
    const thread = await vcpuThread(qemu);
    const before = cpusOf(`${qemu.pid}`);
    await placeVcpu(thread, "two-cpus");
    assertEquals(cpusOf(`${qemu.pid}/task/${thread}`), before);
    await placeVcpu(thread, "vcpu-alone");
    assertEquals(cpusOf(`${qemu.pid}/task/${thread}`), "1");
    assertEquals(cpusOf(`${qemu.pid}`), before);
  },
);

testUnless(
  skip,
  "keepOffGuestCpu keeps every thread of this process off, and gives back",
  async () => {
    const threads = (): string[] =>
      [...Deno.readDirSync("/proc/self/task")].map(({ name }) => cpusOf(`self/task/${name}`));
    const before = cpusOf("self");
    {
      await using _ = await keepOffGuestCpu("vcpu-alone");
      assertEquals([...new Set(threads())], ["0"]);
    }
    assertEquals([...new Set(threads())], [before]);
    await using _ = await keepOffGuestCpu("two-cpus");
    assertEquals(cpusOf("self"), before);
  },
);
