import "../support/native.ts";
import { assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "@std/assert";
import { Errno, SyscallError } from "../../ffi/errno.ts";
import { kernelRelease } from "../../ffi/kernel_release.ts";
import { UffdFeature, Userfaultfd } from "../../ffi/userfaultfd.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { explainTrackingError } from "../../server/live/tracking_error.ts";

const UNKNOWN_FEATURE = 1n << 60n;

Deno.test("explainTrackingError names the kernel that lacks something, and what is needed", () => {
  const answers: [syscall: string, errno: number][] = [
    ["userfaultfd", Errno.ENOSYS], // built without it
    ["UFFDIO_API", Errno.EINVAL], // 4.3 to 6.6
    ["PAGEMAP_SCAN", Errno.ENOTTY], // before 6.7
  ];
  for (const [syscall, errno] of answers) {
    const cause = new SyscallError(syscall, errno);
    const error = explainTrackingError(cause, "5.15.0-91-generic");
    assertInstanceOf(error, MigrationError);
    assertEquals([error.code, error.cause], ["UNSUPPORTED", cause]);
    assertEquals(
      error.message,
      `Cannot track writes to the guest's memory on Linux 5.15.0-91-generic: ${syscall} failed ` +
        `with ${cause.code}: boot Linux 6.7 or later (6.10 on aarch64), with userfaultfd's ` +
        "WP_ASYNC and PAGEMAP_SCAN",
    );
  }
});

Deno.test("explainTrackingError understands what this kernel says of a feature that it lacks", () => {
  const features = UffdFeature.WP_ASYNC | UNKNOWN_FEATURE;
  const thrown = assertThrows(() => new Userfaultfd({ features }), SyscallError);
  const error = explainTrackingError(thrown, kernelRelease());
  assertInstanceOf(error, MigrationError);
  assertStringIncludes(error.message, `on Linux ${Deno.osRelease()}: `);
});

Deno.test("explainTrackingError leaves what has its own remedy, or is no fault of the kernel's", () => {
  const errors = [
    new SyscallError("userfaultfd", Errno.EPERM),
    new SyscallError("UFFDIO_REGISTER", Errno.EBUSY),
    new SyscallError("UFFDIO_REGISTER", Errno.EINVAL),
    new SyscallError("PAGEMAP_SCAN", Errno.EPERM),
    new RangeError("Not a SyscallError"),
  ];
  for (const error of errors) assertEquals(explainTrackingError(error, "6.1.0"), error);
});

Deno.test("kernelRelease is what Deno says, without its permission", () => {
  assertEquals(kernelRelease(), Deno.osRelease());
});
