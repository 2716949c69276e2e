import "../support/native.ts";
import { assertEquals, assertGreater } from "@std/assert";
import { RunCredentials } from "../../bench/tls/credentials.ts";
import { KINDS } from "../../bench/tls/kind.ts";
import { measureLibrary } from "../../bench/tls/library_pair.ts";
import { measureOurs } from "../../bench/tls/our_pair.ts";
import {
  measureQemu,
  measureServeToQemu,
  type QemuPlan,
  saveGuests,
} from "../../bench/tls/qemu_pair.ts";
import { TemporaryDirectory } from "../../bench/support/temporary_directory.ts";
import { WorkloadImages } from "../../bench/support/workload_images.ts";
import { qemuFromEnvironment, whyNoQemu } from "../../qemu/qemu_binary.ts";
import { firstOf, needsRoot, skipReason, testUnless } from "../support/skip.ts";
import { needsOpenssl } from "../tls/authority.ts";

const binary = qemuFromEnvironment();
const reason = await whyNoQemu(binary);
const noQemu = firstOf(
  reason === undefined ? needsRoot() : skipReason("missing package", reason),
  needsOpenssl(),
);

const SIZE = 64 << 20;
const PLACEMENT = "scheduler";
const NO_COST = { source: 0, destination: 0 };

testUnless(needsOpenssl(), "measureLibrary uses the ciphers that the table names", async () => {
  using directory = new TemporaryDirectory();
  await using credentials = await RunCredentials.make(directory.path);
  const ciphers: (string | undefined)[] = [];
  for (const kind of KINDS) {
    const figures = await measureLibrary(PLACEMENT, 8 << 20, credentials.path(kind));
    ciphers.push(figures.cipher);
    assertGreater(figures.rate, 0);
    assertGreater(figures.roundTrip.mean, 0);
    assertEquals(figures.roundTrip.count, 3000);
  }
  assertEquals(ciphers, [
    undefined,
    "TLSv1.3 TLS_AES_256_GCM_SHA384",
    "TLSv1.3 TLS_AES_128_GCM_SHA256",
  ]);
});

testUnless(needsOpenssl(), "measureOurs has waits without and beside the stream", async () => {
  using directory = new TemporaryDirectory();
  await using credentials = await RunCredentials.make(directory.path);
  using images = new WorkloadImages();
  const plan = { placement: PLACEMENT, size: SIZE, images } as const;
  const { stream, alone, beside } = await measureOurs(plan, credentials.path("x509"), NO_COST);
  assertGreater(stream.rate, 0);
  assertGreater(stream.sourceCpu, 0);
  assertGreater(alone!.count, 0);
  assertGreater(beside!.count, 0);
});

for (const kind of KINDS) {
  testUnless(noQemu, `measureQemu and measureServeToQemu move guests, ${kind}`, async () => {
    using directory = new TemporaryDirectory();
    await using credentials = await RunCredentials.make(directory.path);
    const plan: QemuPlan = { binary, placement: PLACEMENT, size: SIZE, credentials };
    const saved = await saveGuests(plan, directory.path);
    for (
      const figures of [
        await measureQemu(plan, kind),
        await measureServeToQemu(plan, saved, kind, NO_COST),
      ]
    ) {
      assertGreater(figures.stream.rate, 0);
      assertEquals(figures.alone, undefined);
    }
  });
}
