/** Receivers that are killed after the switch, and others that take up what they left. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import type { SocketAddress } from "../../ffi/socket_address.ts";
import { ImageError } from "../../image/image_error.ts";
import { openImage } from "../../image/open_image.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { withDirectory } from "../image/captures.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { Random } from "../support/random.ts";
import { ALL, assertFigures, PAGES, receiving, Reception } from "./received.ts";
import { ReceiveProcess } from "./receive_process.ts";
import { breakOff, resumeAll, ResumingSource } from "./resuming_source.ts";

/** The files of a directory. */
function filesOf(directory: string): string[] {
  return [...Deno.readDirSync(directory)].map(({ name }) => `${directory}/${name}`).sort();
}

/** Kills `receive` once it has answered behind the switch; returns the file that it left. */
async function leave(directory: string, pages: readonly number[]): Promise<string> {
  await using command = new ReceiveProcess(["--image", `${directory}/image`]);
  using source = new HostileSource(await command.address(), { ram: PAGES });
  await source.connectAndSwitch();
  await source.sendPages(pages);
  await source.hear(({ pongs }) => pongs.includes(3));
  await command.event("progress", ({ remaining }) => remaining === PAGES - pages.length);
  command.kill("SIGKILL");
  await within("the kill", command.ended);
  return filesOf(directory).find((name) => name.includes(".partial-"))!;
}

/** Runs with a receiver that takes a file up, and listens. */
async function takingUp(
  left: string,
  test: (receiver: ImageReceiver, to: SocketAddress) => Promise<void>,
): Promise<void> {
  const path = left.replace(/\.partial-.*/, "");
  await using receiver = new ImageReceiver({ path, recover: left });
  const to = await receiver.listen(LOOPBACK);
  await until("the pause", () => receiver.status === "postcopy-paused");
  await test(receiver, to);
}

/** Has a source resume, and compares the image. */
async function complete(receiver: ImageReceiver, to: SocketAddress, path: string): Promise<void> {
  using again = await resumeAll(to);
  assertEquals(again.missing(), ALL);
  await within("the image", receiver.finished);
  assertFigures(receiver, { status: "completed", received: PAGES, remaining: 0, duplicates: 0 });
  await new Reception(path, receiver, to, again).assertImage();
  assertEquals(filesOf(path.replace(/\/[^/]*$/, "")), [path]);
}

Deno.test(
  "ImageReceiver takes up what another left that was killed, and makes the image",
  leavingNoDescriptors(() =>
    withDirectory(async (directory) => {
      const left = await leave(directory, ALL.slice(0, 20));
      await takingUp(left, async (receiver, to) => {
        assertEquals([receiver.machine, receiver.holdsGuest], ["postcopy-workload", true]);
        assertMatch(receiver.pauseReason!.message, /The receive that began this file has ended/);
        await complete(receiver, to, `${directory}/image`);
      });
    })
  ),
);

Deno.test("openImage refuses what a killed receive left, and says how to go on", () =>
  withDirectory(async (directory) => {
    const left = await leave(directory, ALL); // every page, and not the end
    const error = await assertRejects(() => openImage(left), ImageError);
    assertMatch(error.message, /lacks pages.*postcopy receive --recover .*\.partial-\d+ --listen/);
    const renamed = `${directory}/renamed`;
    await Deno.rename(left, renamed);
    await assertRejects(() => openImage(renamed), ImageError, "lacks pages");
  }));

Deno.test(
  "ImageReceiver has all pages sent again, whenever the receivers before it were killed",
  leavingNoDescriptors(async () => {
    const random = new Random(12);
    for (let round = 0; round < 4; round++) {
      await withDirectory(async (directory) => {
        const image = `${directory}/image`;
        let left = await leave(directory, ALL.slice(0, random.between(0, PAGES)));
        for (let kills = random.between(1, 2); kills > 0; kills--) {
          await using command = new ReceiveProcess(["--recover", left]);
          using again = new ResumingSource(await command.address());
          await again.connect();
          assertEquals([await again.ask(), again.missing()], [true, [...ALL]]);
          assert(await again.resume());
          const count = random.between(0, PAGES - 1);
          await again.sendPages(again.missing().slice(0, count), 1); // wrong: they must not stay
          await command.event("progress", ({ received }) => received === count);
          command.kill("SIGKILL");
          await within("the kill", command.ended);
          left = filesOf(directory)[0]!;
        }
        await takingUp(left, (receiver, to) => complete(receiver, to, image));
      });
    }
  }),
);

Deno.test(
  "ImageReceiver can be killed at any moment of the switch: the guest is taken up or handed back",
  leavingNoDescriptors(async () => {
    const random = new Random(7);
    const ends = new Set<string>();
    for (let round = 0; round < 8 || ends.size < 2; round++) {
      assert(round < 40, `Only ever one end: ${[...ends]}`);
      await withDirectory(async (directory) => {
        await using command = new ReceiveProcess(["--image", `${directory}/image`]);
        using source = new HostileSource(await command.address(), { ram: PAGES });
        await source.connect();
        source.encodeAdvise();
        source.encodeBlocks();
        await source.flush();
        await command.event("progress", ({ pages }) => pages === PAGES);
        source.encodeSwitchover();
        const bytes = source.stream.take();
        const cut = random.oneIn(2) ? bytes.length : random.between(1, bytes.length);
        await source.flush(bytes.subarray(0, cut));
        if (random.oneIn(2) && cut === bytes.length) {
          await source.hear(({ pongs }) => pongs.includes(3));
        }
        command.kill("SIGKILL");
        await within("the kill", command.ended);
        const left = filesOf(directory)[0]!;
        await takingUp(left, async (receiver, to) => {
          if (receiver.holdsGuest) {
            ends.add("taken up");
            return await complete(receiver, to, `${directory}/image`);
          }
          ends.add("handed back");
          await handBack(receiver, to);
          assertEquals(filesOf(directory), []);
        });
      });
    }
  }),
);

/** Has a source resume that gets its guest back. */
async function handBack(receiver: ImageReceiver, to: SocketAddress): Promise<void> {
  const failed = receiver.finished.then(
    () => Promise.reject(new Error("It completed")),
    (error: Error) => error,
  );
  using again = await resumeAll(to);
  assertEquals(again.missing(), []); // so it sends none, and ends
  const { message } = await within("the end", failed);
  assertMatch(message, /Guest was handed back.*no image was made.*the command\s+cont there lets/);
  assertEquals(receiver.status, "failed");
}

Deno.test(
  "ImageReceiver whose source vanishes within the switch says that the guest may have to be handed back",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connect();
    source.encodeAdvise();
    source.encodeBlocks();
    source.encodeSwitchover();
    const bytes = source.stream.take();
    await source.flush(bytes.subarray(0, bytes.length - 60)); // in the midst of the package
    await until("the switch", () => receiver.status === "device");
    source[Symbol.dispose]();
    const { message } = await reception.fails();
    assertMatch(message, /when it says postcopy-paused, neither cancel nor end it, but have the/);
    const left = receiver.partialPath;
    assertEquals(filesOf(left.replace(/\/[^/]*$/, "")), [left]);
    await receiver.close();
    await takingUp(left, handBack);
  }),
);

Deno.test(
  "ImageReceiver takes up no file that another still writes",
  receiving(async (reception) => {
    await breakOff(reception, ALL.slice(0, 3));
    const { path, to, receiver: { partialPath: recover } } = reception;
    const error = assertThrows(() => new ImageReceiver({ path, recover }), ImageError);
    assertMatch(error.message, /a receive is still writing.*let the source resume there/);
    using _again = await resumeAll(to);
    await reception.makesImage();
  }),
);

Deno.test("ImageReceiver takes up nothing but what a receive left", () =>
  withDirectory(async (directory) => {
    const refused = (bytes: Uint8Array | string, message: RegExp) => {
      const recover = `${directory}/image.partial-1`;
      if (typeof bytes === "string") Deno.writeTextFileSync(recover, bytes);
      else Deno.writeFileSync(recover, bytes);
      const path = `${directory}/image`;
      const error = assertThrows(() => new ImageReceiver({ path, recover }), ImageError);
      assertMatch(error.message, message);
    };
    refused("", /ended before its source had sent anything.*guest is at its source/);
    refused("some text", /No partial image of receive/);
    refused("QEVM\0\0\0\x03", /is complete, of which nothing is to be recovered/);
    refused(new Uint8Array(100_000), /is damaged/);
    await Deno.remove(`${directory}/image.partial-1`);
    const left = await leave(directory, []);
    const good = await Deno.readFile(left);
    await Deno.remove(left);
    refused(good.slice().fill(0, 40, 120), /is damaged/);
    // In the midst of the device state, which lies behind the pages.
    refused(good.subarray(0, (1 << 20) + PAGES * 4096 + 60), /is damaged/);
  }));
