/** Indexes for which there is no room: the image is served all the same. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { firstOf, needsCommand, needsRoot, testUnless } from "../support/skip.ts";
import { replacing } from "../support/replacing.ts";
import { assertMemory, makeCapture, PAGE, part, testPage, withDirectory } from "./captures.ts";
import { readMemory } from "./reference.ts";

const BLOCKS = [{ name: "pc.ram", usedLength: 600 * PAGE }];
/** Pages as they are alone: all of the index is at hand until it is written. */
const PLAIN = makeCapture({ blocks: BLOCKS }, (encoder) => {
  part(encoder, () => {
    encoder.block("pc.ram");
    for (let page = 0; page < 500; page++) encoder.page(page * PAGE, testPage(page), 0);
  });
});
/** Pages that are reconstructed, some of them twice. */
const ENCODED = makeCapture({ blocks: BLOCKS }, (encoder) => {
  part(encoder, () => {
    encoder.block("pc.ram");
    encoder.page(0, testPage(0), 0);
    for (let page = 1; page < 5; page++) encoder.zeroPage(page * PAGE, page);
  });
  part(encoder, () => {
    encoder.block("pc.ram");
    for (let page = 0; page < 5; page++) {
      encoder.xbzrlePage(page * PAGE, Uint8Array.of(9, 1, 7), 0, 3);
    }
  });
});

/** An index of 8 MiB, of a machine whose pages were hardly touched. */
const LARGE = makeCapture({ blocks: [{ name: "pc.ram", usedLength: 2 ** 32 }] }, (encoder) => {
  part(encoder, () => {
    encoder.block("pc.ram");
    encoder.page(2 ** 32 - PAGE, testPage(1), 0);
  });
});

type FileCall = "writeSync" | "readSync" | "seekSync" | "truncate" | "syncData";

/** Runs with a call of files failing from its n-th time on; returns how often it was made. */
async function failing(call: FileCall, from: number, run: () => Promise<void>): Promise<number> {
  let calls = 0;
  const fail = (original: (...args: never[]) => unknown) =>
    function (this: Deno.FsFile, ...args: never[]): unknown {
      if (calls++ >= from) throw new Error("No space left on device (os error 28)");
      return original.apply(this, args);
    };
  const files = Deno.FsFile.prototype as unknown as Record<FileCall, (...args: never[]) => unknown>;
  await replacing(files, call, fail, run);
  return calls;
}

for (const [what, bytes] of [["plain", PLAIN], ["encoded", ENCODED]] as const) {
  for (const call of ["writeSync", "readSync", "seekSync", "truncate", "syncData"] as const) {
    Deno.test(`openImage keeps the index of ${what} pages in memory when ${call} fails, whenever`, async () => {
      await withDirectory(async (directory) => {
        const path = `${directory}/image`;
        await Deno.writeFile(path, bytes);
        const expected = readMemory(bytes);
        for (let from = 0, failed = true; failed; from++) {
          const calls = await failing(call, from, async () => {
            const read: number[] = [];
            using image = await openImage(path, { onProgress: (done) => read.push(done) });
            assertMemory(image, expected);
            failed = image.index!.state === "temporary";
            if (!failed) return;
            const { reason } = image.index!;
            const index = `${path}.postcopy-index`;
            assertEquals(
              reason,
              `${index} cannot be written: No space left on device (os error 28)`,
            );
            assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["image"]);
            if (bytes === PLAIN) assertEquals(read, [...new Set(read)], "the image was read again");
          });
          assertEquals(calls > from, failed, `${calls} calls`);
        }
        // It was kept when nothing failed, and is good.
        using image = await openImage(path);
        assertEquals(image.index!.state, "reused");
        assertMemory(image, expected);
      });
    });
  }
}

/** Runs `inspect` after other commands in a shell. */
async function inspectAfter(commands: string, path: string): Promise<Record<string, string>> {
  const main = new URL("../../server/main.ts", import.meta.url).pathname;
  const inspect =
    `"${Deno.execPath()}" run -A --no-check --no-code-cache "${main}" inspect --json "$1"`;
  const { code, stdout, stderr } = await new Deno.Command("unshare", {
    args: [
      "--mount",
      "--propagation",
      "private",
      "sh",
      "-ec",
      `${commands}; ${inspect}`,
      "sh",
      path,
    ],
    env: { NO_COLOR: "1" },
  }).output();
  const [out, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals(code, 0, errors);
  return JSON.parse(out!).index;
}

const skip = firstOf(needsRoot(), needsCommand("unshare", "util-linux"));

testUnless(skip, "inspect reads a capture on a disk that is full", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await Deno.writeFile(path, PLAIN);
    // The image is taken along, for the mount hides it.
    const commands = `exec 3< "$1"; mount -t tmpfs -o size=3M tmpfs "${directory}"; ` +
      `cat <&3 > "$1"; cat /dev/zero > "$1.rest" 2> /dev/null || true`;
    const index = await inspectAfter(commands, path);
    assertEquals(index["state"], "temporary");
    assertMatch(index["reason"]!, /cannot be written: No space left on device/);
  });
});

testUnless(skip, "inspect reads a capture under a limit on the size of files", async () => {
  await withDirectory(async (directory) => {
    const path = `${directory}/image`;
    await Deno.writeFile(path, LARGE);
    // 4 MiB, which is room for what Deno itself keeps of a program, in a directory of its own.
    const commands = `export DENO_DIR="${directory}/deno"; ulimit -f 8192`;
    const index = await inspectAfter(commands, path);
    assertEquals(index["state"], "temporary");
    assertStringIncludes(index["reason"]!, "cannot be written: File too large");
  });
});
