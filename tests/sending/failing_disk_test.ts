/** An image on a disk that fails: reading gives EIO, and a touch would be the process's end. */
import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { ImageError } from "../../image/image_error.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { Source, type SourceOptions } from "../../server/source.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { withDirectory } from "../image/captures.ts";
import { within } from "../support/deadline.ts";
import { firstOf, needsCommand, needsRoot, skipReason, testUnless } from "../support/skip.ts";
import { TlsFront } from "../tls/tls_front.ts";
import { IMAGE_KINDS, type MadeKind, PAGE, writeImage } from "./served_images.ts";

const PAGES = 1024;

async function command(name: string, ...args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(name, { args, stderr: "piped" }).output();
  if (!success) throw new Error(`${name} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

/** A file system on a loop device whose backing file can be cut short: what lies behind cannot be read. */
class FailingDisk implements AsyncDisposable {
  /** Where it is mounted. */
  readonly directory: string;
  readonly #backing: string;

  private constructor(directory: string, backing: string) {
    this.directory = directory;
    this.#backing = backing;
  }

  static async make(parent: string): Promise<FailingDisk> {
    const disk = new FailingDisk(`${parent}/disk`, `${parent}/backing`);
    await Deno.mkdir(disk.directory);
    await Deno.writeFile(disk.#backing, new Uint8Array(0));
    await Deno.truncate(disk.#backing, 2 ** 26);
    await command("mkfs.ext4", "-q", "-F", disk.#backing);
    await disk.mount();
    return disk;
  }

  async mount(...options: string[]): Promise<void> {
    await command("mount", "-o", ["loop", ...options].join(), this.#backing, this.directory);
  }

  async unmount(): Promise<void> {
    await command("umount", this.directory);
  }

  async fail(): Promise<void> {
    await Deno.truncate(this.#backing, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unmount();
  }
}

/** Why a loop device cannot be had here: not in every container. */
async function whyNot(): Promise<ReturnType<typeof skipReason> | undefined> {
  const missing = firstOf(needsRoot(), needsCommand("mkfs.ext4", "e2fsprogs"));
  if (missing !== undefined) return missing;
  try {
    await withDirectory(async (directory) => {
      await using _ = await FailingDisk.make(directory);
    });
  } catch (error) {
    return skipReason("no support", `No loop device: ${(error as Error).message.trim()}`);
  }
}

const reason = await whyNot();

/** Calls with an image on a disk from which nothing was read that need not be. */
async function withImageOnDisk(
  kind: MadeKind,
  use: (path: string, memory: Uint8Array<ArrayBuffer>, disk: FailingDisk) => Promise<void>,
): Promise<void> {
  await withDirectory(async (directory) => {
    await using disk = await FailingDisk.make(directory);
    const path = `${disk.directory}/image`;
    const memory = await writeImage(kind, path, PAGES);
    (await openImage(path)).close(); // its index, if it has one
    await disk.unmount();
    // Anew, so that no file is in its cache. What it wrote behind its end would make a hole, read as zeros.
    await disk.mount("ro");
    await use(path, memory, disk);
  });
}

type Options = Omit<SourceOptions, "to"> & { readonly secretly?: boolean };

const OPTIONS: Readonly<Record<string, Options>> = {
  "its pages are asked for": { maxPostcopyBandwidth: 1, stallTimeout: 300 },
  "it sends them unasked": { mode: "vanilla", stallTimeout: 3_000 },
  "it compresses them": {
    mode: "vanilla",
    compress: { method: "zlib", threads: 1 },
    stallTimeout: 3_000,
  },
  "its pages are asked for over TLS": {
    maxPostcopyBandwidth: 1,
    stallTimeout: 300,
    secretly: true,
  },
  "it sends them unasked over TLS": { mode: "vanilla", stallTimeout: 3_000, secretly: true },
};

for (const kind of IMAGE_KINDS) {
  for (const [when, { secretly, ...options }] of Object.entries(OPTIONS)) {
    if (secretly && kind !== "raw") continue;
    testUnless(reason, `Source says which ${kind} image cannot be read when ${when}`, async () => {
      await withImageOnDisk(kind, async (path, memory, disk) => {
        using image = await openImage(path);
        using destination = await ScriptedHugeDestination.listen(image.layout, memory);
        await using front = secretly ? await TlsFront.start(destination.address) : undefined;
        await using source = new Source(image, {
          recoverTimeout: 0,
          ...options,
          ...front?.source ?? { to: destination.address },
        });
        await disk.fail();
        const run = source.run();
        run.catch(() => {});
        const playing = destination.play(options.mode !== "vanilla");
        if (options.mode !== "vanilla") {
          await within("the guest to run", destination.when(() => destination.running));
          // Some may have been read already, with what was read for the opening.
          for (let at = 0; at < memory.length; at += PAGE) await destination.ask("ram", at, PAGE);
        }
        const error = await within("it to fail", assertRejects(() => run, MigrationError));
        assertEquals(error.code, "IMAGE_UNREADABLE");
        assert(error.message.includes(`Cannot read a page: ${path}: `), error.message);
        await within("the destination to notice", playing);
        assert(!destination.complete);
      });
    });
  }

  testUnless(reason, `openImage says which ${kind} image cannot be read`, async () => {
    await withImageOnDisk(kind, async (path, _, disk) => {
      using beside = await Deno.open(path); // keeps its inode, and nothing of its bytes, in memory
      if (kind === "raw") await Deno.readTextFile(`${path}.json`);
      await disk.fail();
      const counted = async () => {
        using image = await openImage(path);
        await image.countPages();
      };
      const { code, message } = await assertRejects(counted, ImageError);
      assertEquals([code, message.includes(path)], ["unreadable", true], message);
      beside.statSync();
    });
  });
}
