import "../../support/native.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { CriuImages } from "../../../client/lazy/criu/criu_images.ts";
import { ImageError } from "../../../image/image_error.ts";
import { leavingNoDescriptors } from "../../support/descriptors.ts";
import { pagemapBytes } from "./incremental.ts";

const PAGE = 4096;
const MIB = 1024 * 1024;

type Entry = Parameters<typeof pagemapBytes>[1][number];

/** Images of process 7 in a directory of their own, which goes with them. */
class Directory implements Disposable {
  readonly path = Deno.makeTempDirSync({ prefix: "postcopy-criu-images-" });

  write(entries: readonly Entry[], pages: number, below = ""): this {
    Deno.mkdirSync(`${this.path}${below}`, { recursive: true });
    Deno.writeFileSync(`${this.path}${below}/pagemap-7.img`, pagemapBytes(3, entries));
    Deno.writeFileSync(`${this.path}${below}/pages-3.img`, new Uint8Array(pages * PAGE));
    return this;
  }

  [Symbol.dispose](): void {
    Deno.removeSync(this.path, { recursive: true });
  }
}

Deno.test(
  "CriuImages says where each page is: in a file, in the dump before, at the source",
  leavingNoDescriptors(() => {
    using directory = new Directory();
    directory.write([
      { address: MIB, pages: 2, flags: 6 },
      { address: MIB + 2 * PAGE, pages: 3, flags: 6 },
      { address: 2 * MIB, pages: 4, flags: 1 },
      { address: 3 * MIB, pages: 5, flags: 2 },
      { address: 4 * MIB, pages: 1, flags: 4 },
    ], 6);
    directory.write([{ address: 2 * MIB - PAGE, pages: 10, flags: 6 }], 10, "/parent");
    using images = CriuImages.open(directory.path);
    assertEquals([...images.processes.keys()], [7]);
    const runs = images.processes.get(7)!.runs.map((run) => ({
      ...run,
      address: run.address / MIB,
    }));
    assertEquals(runs, [
      { address: 1, pages: 5, file: 0, offset: 0 }, // entries that lie behind each other are one run
      { address: 2, pages: 4, file: 1, offset: PAGE },
      { address: 3, pages: 5, file: -1, offset: 0 },
      { address: 4, pages: 1, file: 0, offset: 5 * PAGE },
    ]);
    assertEquals(images.files.map(({ file }) => file.path.slice(directory.path.length)), [
      "/pages-3.img",
      "/parent/pages-3.img",
    ]);
    assertEquals(images.pagesAtSource, 5);
    return Promise.resolve();
  }),
);

Deno.test("CriuImages finds pages a hundred dumps back", () => {
  using directory = new Directory();
  for (let dump = 0; dump <= 100; dump++) {
    directory.write([{ address: MIB, pages: 1, flags: dump === 0 ? 6 : 1 }], 1, `/${dump}`);
    if (dump > 0) Deno.symlinkSync(`../${dump - 1}`, `${directory.path}/${dump}/parent`);
  }
  using images = CriuImages.open(`${directory.path}/100`);
  assertEquals(images.files.map(({ file }) => file.path), [`${directory.path}/0/pages-3.img`]);
});

Deno.test("CriuImages takes a number of pages of 64 bits, and flags as CRIU of before 2 wrote them", () => {
  using directory = new Directory();
  directory.write([], 12);
  const common = new Uint8Array(new Uint32Array([0x54564319, 0x56084025]).buffer);
  // Head {1: 3}; {1: 0x100000, 5: 11}; {1: 0x200000, 2: 1}.
  Deno.writeFileSync(
    `${directory.path}/pagemap-7.img`,
    new Uint8Array([
      ...common,
      ...[2, 0, 0, 0, 8, 3],
      ...[6, 0, 0, 0, 8, 0x80, 0x80, 0x40, 40, 11],
      ...[9, 0, 0, 0, 8, 0x80, 0x80, 0x80, 1, 16, 1, 24, 0],
    ]),
  );
  using images = CriuImages.open(directory.path);
  assertEquals(images.processes.get(7)!.runs, [
    { address: MIB, pages: 11, file: 0, offset: 0 },
    { address: 2 * MIB, pages: 1, file: 0, offset: 11 * PAGE },
  ]);
});

const one = { address: MIB, pages: 1, flags: 4 };

Deno.test(
  "CriuImages says what is wrong with images that cannot be served, and leaves nothing open",
  leavingNoDescriptors(() => {
    const cases: [what: RegExp, code: string, spoil: (directory: Directory) => void][] = [
      [/Directory without a pagemap-PID.img/, "not-an-image", () => {}],
      [/there should be 8192/, "truncated", (all) => all.write([{ ...one, pages: 2 }], 1)],
      [
        /flags that are not known: 0x8/,
        "unsupported",
        (all) => all.write([{ ...one, flags: 8 }], 1),
      ],
      [/which is not there: .*parent/, "not-found", (all) => all.write([{ ...one, flags: 1 }], 1)],
      [/the dump before lacks: 0x101000/, "malformed", (all) => {
        all.write([{ ...one, pages: 2, flags: 1 }], 1).write([one], 1, "/parent");
      }],
      [/builds on itself/, "malformed", (all) => {
        all.write([{ ...one, flags: 1 }], 1);
        Deno.symlinkSync(".", `${all.path}/parent`);
      }],
      [/overlap at address 0x100000/, "malformed", (all) => all.write([one, one], 2)],
      [
        /no process has any: 1 at 0x100001/,
        "malformed",
        (all) => all.write([{ ...one, address: MIB + 1 }], 1),
      ],
      [
        /no pagemap of CRIU/,
        "not-an-image",
        (all) => Deno.writeFileSync(`${all.path}/pagemap-7.img`, new Uint8Array(100)),
      ],
      [/ends early/, "truncated", (all) => {
        all.write([one], 1);
        Deno.truncateSync(`${all.path}/pagemap-7.img`, 20);
      }],
      [/of pages that is not there/, "not-found", (all) => {
        all.write([one], 1);
        Deno.removeSync(`${all.path}/pages-3.img`);
      }],
    ];
    for (const [what, code, spoil] of cases) {
      using directory = new Directory();
      spoil(directory);
      const error = assertThrows(() => CriuImages.open(directory.path), ImageError);
      assert(what.test(error.message), error.message);
      assertEquals(error.code, code);
    }
    return Promise.resolve();
  }),
);
