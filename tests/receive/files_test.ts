/** What is and what is not on the disk, before, while and after an image is received. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertThrows } from "@std/assert";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { SyscallError } from "../../ffi/errno.ts";
import { HostileSource } from "../hostile/scripted_source.ts";
import { withDirectory } from "../image/captures.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { ALL, PAGES, receiving, Reception } from "./received.ts";

/** Sends a whole guest. */
async function sendAll({ source }: Reception): Promise<void> {
  await source.connectAndSwitch();
  await source.sendLast(ALL);
}

/** Runs with an image that is there already. */
function withOldImage(test: (path: string, directory: string) => Promise<void>) {
  return () =>
    withDirectory(async (directory) => {
      const path = `${directory}/image`;
      await Deno.writeTextFile(path, "old");
      await test(path, directory);
    });
}

Deno.test(
  "ImageReceiver does not touch an image that is there already",
  withOldImage(async (path, directory) => {
    const error = assertThrows(() => new ImageReceiver({ path }), SyscallError);
    assertMatch(error.message, /^open failed with EEXIST: .*\/image: choose another name, or/);
    assertEquals([...Deno.readDirSync(directory)].length, 1);
    assertEquals(await Deno.readTextFile(path), "old");
  }),
);

Deno.test(
  "ImageReceiver replaces an image only when the new one is complete",
  withOldImage((path) =>
    receiving(async (reception) => {
      const { source } = reception;
      await source.connectAndSwitch();
      await source.sendPages(ALL);
      await source.hear(({ pongs }) => pongs.includes(4));
      assertEquals(await Deno.readTextFile(path), "old");
      source.encodeEnd();
      await source.flush();
      await reception.completes();
      assertEquals(reception.files, ["image"]);
      await reception.assertImage();
    }, { path, overwrite: true })()
  ),
);

Deno.test(
  "ImageReceiver leaves an image as it was when the new one fails",
  withOldImage((path) =>
    receiving(async (reception) => {
      await reception.source.connect();
      reception.source.encodeAdvise();
      reception.source.encodeBlocks();
      await reception.source.flush();
      reception.source[Symbol.dispose]();
      await reception.fails();
      assertEquals([reception.files, await Deno.readTextFile(path)], [["image"], "old"]);
    }, { path, overwrite: true })()
  ),
);

Deno.test(
  "ImageReceiver does not replace an image that came into being meanwhile",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    await source.connectAndSwitch();
    await source.sendPages(ALL);
    await source.hear(({ pongs }) => pongs.includes(4));
    await Deno.writeTextFile(reception.path, "somebody else's");
    source.encodeEnd();
    await source.flush();
    const { code, message } = await reception.fails();
    assertEquals(code, "IMAGE_FAILED");
    assertMatch(message, /^link failed with EEXIST: .* then rename the file: .*\.partial-/);
    assertEquals(await Deno.readTextFile(reception.path), "somebody else's");
    await Deno.rename(receiver.partialPath, reception.path);
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver can be used twice at once, for one image or two",
  leavingNoDescriptors(() =>
    withDirectory(async (directory) => {
      await using stack = new AsyncDisposableStack();
      const start = async (name: string): Promise<Reception> => {
        const path = `${directory}/${name}`;
        const receiver = stack.use(new ImageReceiver({ path }));
        const to = await receiver.listen(LOOPBACK);
        const source = stack.use(new HostileSource(to, { ram: PAGES }));
        return new Reception(path, receiver, to, source);
      };
      const [first, second, other] = [await start("one"), await start("one"), await start("two")];
      await Promise.all([sendAll(first), sendAll(other)]);
      await Promise.all([first.completes(), other.completes()]);
      await sendAll(second);
      assertEquals((await second.fails()).code, "IMAGE_FAILED");
      await first.assertImage();
      await other.assertImage();
    })
  ),
);

const NOWHERE: readonly [string, string, RegExp][] = [
  [
    "a directory that is not there",
    "/no/such/image",
    /^open failed with ENOENT: .* directory first$/,
  ],
  ["a directory", "/tmp", /^open failed with EISDIR: \/tmp$/],
];
for (const [what, path, message] of NOWHERE) {
  Deno.test(`ImageReceiver refuses to write to ${what}`, () => {
    const error = assertThrows(() => new ImageReceiver({ path, overwrite: true }), SyscallError);
    assertMatch(error.message, message);
  });
}
