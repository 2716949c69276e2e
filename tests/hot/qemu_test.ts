/** What a guest of a real QEMU touches first, held against what QEMU says, and sent before it runs. */
import "../support/native.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { knownHot } from "../../image/hot/known_hot.ts";
import { type VirtioRing, virtioRings } from "../../image/hot/virtio_rings.ts";
import { openImage } from "../../image/open_image.ts";
import { readOrderFile } from "../../image/order/order_file.ts";
import { capture } from "../../qemu/capture.ts";
import { startGuest, waitForRound } from "../../qemu/guest.ts";
import { Qemu } from "../../qemu/qemu.ts";
import { waitForMigration } from "../../qemu/migration.ts";
import { hotPages } from "../../server/order/hot_pages.ts";
import { Source } from "../../server/source.ts";
import { withDirectory } from "../image/captures.ts";
import { readMemory } from "../image/reference.ts";
import { assertSameMemory } from "../interop/qemu_memory.ts";
import { testedQemus } from "../interop/qemus.ts";
import { PREEMPT, SavedGuest } from "../interop/saved_guest.ts";
import { assertEveryPageSentOnce, serve } from "../interop/serve_process.ts";
import { within } from "../support/deadline.ts";
import { testUnless } from "../support/skip.ts";

const VIRTIO = ["-device", "virtio-rng-pci", "-device", "virtio-balloon-pci"];
/** A disk for which the BIOS makes a ring, and from which it finds nothing to boot. */
const DISK = [
  ...["-blockdev", "driver=null-co,node-name=disk,size=1048576,read-zeroes=on"],
  ...["-device", "virtio-blk-pci,id=vd,drive=disk"],
];

/** Waits until the BIOS has made it, and returns what QEMU says of it. */
async function diskRing(qemu: Qemu): Promise<VirtioRing> {
  const path = "/machine/peripheral/vd/virtio-backend";
  type Status =
    & { "vring-num": number }
    & Record<"vring-desc" | "vring-avail" | "vring-used", number>;
  while (true) {
    const status = await qemu.execute<Status>("x-query-virtio-queue-status", { path, queue: 0 });
    const { "vring-desc": start, "vring-avail": available, "vring-used": used } = status;
    if (used === 0) continue;
    const length = status["vring-num"] * 16;
    return {
      available,
      used,
      ...start + length === available ? { descriptors: { start, length } } : {},
    };
  }
}

/** A number in what the monitor says of the registers: a name's, or of a table its base. */
function registerOf(text: string, name: string): number {
  const match = new RegExp(`\\b${name} *= *(?:[0-9a-f]{4} )?([0-9a-f]{8,16})\\b`).exec(text);
  assert(match !== null, `No ${name} in:\n${text}`);
  return Number(`0x${match[1]}`);
}

for (const { name, binary, skip } of await testedQemus()) {
  testUnless(skip, `knownHot finds the pages that the registers name in ${name}`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/image`;
      await using qemu = await startGuest({ binary, memoryMiB: 32, args: VIRTIO });
      await waitForRound(qemu, 1);
      await qemu.stop();
      const said = await qemu.monitor("info registers");
      await capture(qemu, path);
      using image = await openImage(path);
      const { firstPage } = image.layout.find("pc.ram")!;
      const found = [...knownHot(image, { patience: Infinity })].map((page) => page - firstPage);
      for (const each of ["EIP", "ESP", "GDT", "IDT"]) {
        const page = Math.floor(registerOf(said, each) / 4096);
        assert(found.includes(page), `${each} ${page}: ${found}\n${said}`);
      }
    });
  });

  testUnless(skip, `knownHot finds the ring of a virtio disk in ${name}`, async () => {
    await withDirectory(async (directory) => {
      const path = `${directory}/image`;
      await using qemu = await Qemu.start({ binary, memoryMiB: 32, args: DISK });
      const ring = await within("the BIOS to find its disk", diskRing(qemu));
      await qemu.stop();
      await capture(qemu, path);
      using image = await openImage(path);
      assertEquals(virtioRings(image.deviceState), [ring]);
      const { firstPage } = image.layout.find("pc.ram")!;
      const found = knownHot(image, { patience: Infinity });
      for (const address of [ring.available, ring.used]) {
        assert(found.includes(firstPage + Math.floor(address / 4096)), `${address}: ${found}`);
      }
    });
  });

  testUnless(
    skip,
    `Source gives a stopped guest every byte, what it points to before, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, args: VIRTIO });
      const { qemu, address } = await saved.destination(PREEMPT, { stopped: true });
      using image = await openImage(saved.path);
      const options = { to: address, order: hotPages(image), warm: 60_000 };
      await using source = new Source(image, options);
      const statistics = await within("the source to complete", source.run());
      await waitForMigration(qemu, ["completed"]);
      assertEveryPageSentOnce(statistics, image);
      const { planned, early } = statistics.order!;
      assertGreater(early, 0);
      assertEquals(early, planned);
      await assertSameMemory(qemu, readMemory(saved.bytes).blocks);
      await qemu.resume();
      await saved.countsOn(qemu);
    },
  );

  testUnless(
    skip,
    `serve sends what a guest points to before its first restore, and keeps it in the order, with ${name}`,
    async () => {
      await using saved = await SavedGuest.capture({ binary, workingSetMiB: 8 });
      const { qemu, uri } = await saved.destination(PREEMPT);
      const { code, statistics, stderr } = await serve(saved.path, uri);
      assertEquals(code, 0, stderr);
      const { planned, early, late, unasked } = statistics.order!;
      assertGreater(early, 0);
      assertEquals(early + late + unasked, planned);
      const kept = await readOrderFile(`${saved.path}.postcopy-order`);
      assert(typeof kept === "object", `${kept}`);
      assertGreater(kept.list.pages.length, planned - 1);
      await saved.countsOn(qemu);
    },
  );
}
