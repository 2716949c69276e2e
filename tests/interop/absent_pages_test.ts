/**
 * Pages that an image does not hold: a QEMU gets them when it asks, also while it ends, and else not.
 */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { viewMemory } from "../../ffi/memory.ts";
import type { Image } from "../../image/image.ts";
import { openImage } from "../../image/open_image.ts";
import { PageLocator } from "../../pages/page_locator.ts";
import { MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { capture } from "../../qemu/capture.ts";
import { checkRounds, startGuest, waitForRound } from "../../qemu/guest.ts";
import { listenForMigration, setCapabilities, waitForMigration } from "../../qemu/migration.ts";
import { parseSocketAddress } from "../../ffi/socket_address.ts";
import { PAGE, withDirectory } from "../image/captures.ts";
import { makeMappedRam } from "../image/mapped_ram_files.ts";
import { within } from "../support/deadline.ts";
import { testUnless } from "../support/skip.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, VANILLA } from "./saved_guest.ts";
import { assertEveryPageSentOnce } from "./serve_process.ts";

/** Writes what an image holds as a mapped-ram file, without its zero pages. */
async function writeWithoutZeros(image: Image, path: string): Promise<void> {
  const locator = new PageLocator(image.pages);
  const blocks = image.layout.blocks.map(({ name, firstPage, pageCount }) => {
    const stored = new Map<number, Uint8Array>();
    for (let page = 0; page < pageCount; page++) {
      const address = locator.locate(firstPage + page);
      if (address !== 0) stored.set(page, viewMemory(address, PAGE).slice());
    }
    return { name, pages: pageCount, stored };
  });
  const capabilities = [...image.configuration.capabilities ?? [], "mapped-ram"];
  const { bytes } = makeMappedRam({
    configuration: { ...image.configuration, capabilities },
    blocks,
    early: image.earlySections,
    devices: image.deviceState,
  });
  await Deno.writeFile(path, bytes);
}

for (const { name, binary, skip } of await testedQemus()) {
  for (const machine of ["q35", "pc-q35-7.2"]) {
    for (const mode of MODES) {
      testUnless(
        skip,
        `Source in mode ${mode} answers for pages that its image of ${machine} lacks, with ${name}`,
        async () => {
          await withDirectory(async (directory) => {
            const options = { binary, machine, workingSetMiB: 32, tick: 256 };
            const captured = `${directory}/captured`;
            const guest = await startGuest(options);
            try {
              // It has filled few of the pages that it is about to visit.
              await guest.serial.firstOutput();
              await capture(guest, captured, {});
            } finally {
              await guest.close();
            }
            const path = `${directory}/image`;
            {
              using image = await openImage(captured);
              await writeWithoutZeros(image, path);
            }
            using image = await openImage(path);
            await using qemu = await startGuest({ ...options, incoming: true });
            await setCapabilities(qemu, mode === "vanilla" ? VANILLA : PREEMPT);
            const to = parseSocketAddress(`tcp:127.0.0.1:${await listenForMigration(qemu)}`);
            await using source = new Source(image, { to, mode });
            const statistics = await within("the source to complete", source.run());
            await waitForMigration(qemu, ["completed"]);
            assertEveryPageSentOnce(statistics, image);
            const absent = image.counts!.reduce((sum, { zero }) => sum + zero, 0);
            // With a preempt channel that ends with a record all have to be sent.
            const old = machine !== "q35" || !qemu.atLeast(8, 0);
            assertEquals(statistics.ram.duplicate === absent, old && mode !== "vanilla");
            await waitForRound(qemu, 3);
            await qemu.close();
            assert(checkRounds(guest.serial.text + qemu.serial.text) >= 3);
          });
        },
      );
    }
  }
}
