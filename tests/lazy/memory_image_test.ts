import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { openMemoryImage } from "../../client/lazy/memory_image.ts";
import { MemoryLocator, type MemoryPages } from "../../client/lazy/memory_pages.ts";
import { ImageError } from "../../image/image_error.ts";
import { TestImage } from "../support/images.ts";
import { memoryContent, MemoryFile } from "./vmm.ts";

const PAGE = 4096;

/** The memory as it is found page by page. */
function contentOf(memory: MemoryPages): Uint8Array {
  const locator = new MemoryLocator(memory);
  const words = new Int32Array(memory.length / 4);
  for (let offset = 0; offset < memory.length; offset += PAGE) {
    const address = locator.locate(offset);
    if (address !== 0) locator.copy(address, words, offset / 4);
  }
  return new Uint8Array(words.buffer);
}

Deno.test("openMemoryImage finds every page of a memory file as it is", async () => {
  using file = new MemoryFile(64 * PAGE);
  using image = await openMemoryImage(file.path);
  assertEquals(contentOf(image.memory), memoryContent(64 * PAGE));
});

Deno.test("openMemoryImage has an image's blocks follow each other", async () => {
  using test = await TestImage.make({ low: 33, high: 31 });
  using raw = await openMemoryImage(test.path);
  using image = await openMemoryImage(test.path, "image");
  assertEquals(image.memory.length, 64 * PAGE);
  assertEquals(contentOf(image.memory), contentOf(raw.memory));
});

Deno.test("openMemoryImage has to be told of a file that begins as a stream of QEMU", async () => {
  using file = new MemoryFile(64 * PAGE);
  const bytes = Deno.readFileSync(file.path);
  bytes.set(new TextEncoder().encode("QEVM"));
  Deno.writeFileSync(file.path, bytes);
  await assertRejects(() => openMemoryImage(file.path), ImageError, "say --format image");
  using image = await openMemoryImage(file.path, "raw");
  assertEquals(contentOf(image.memory), bytes);
});

Deno.test("openMemoryImage refuses a file that is no whole pages, or empty", async () => {
  using file = new MemoryFile(64 * PAGE);
  Deno.truncateSync(file.path, PAGE + 1);
  await assertRejects(() => openMemoryImage(file.path), ImageError, "no whole pages: 4097 bytes");
  Deno.truncateSync(file.path, 0);
  await assertRejects(() => openMemoryImage(file.path), ImageError, "File of 0 bytes");
});
