import { assertEquals, assertGreater } from "@std/assert";
import { buildJsrTree } from "../../tools/jsr_tree.ts";
import { packages } from "../../tools/pins.ts";

/** Runs a function with a directory of its own, gone afterwards. */
async function withDirectory(fn: (directory: URL) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir();
  try {
    await fn(new URL(`file://${path}/`));
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

Deno.test("packages lists what deno.json and npm.json pin, by registry", async () => {
  const names = (await packages("jsr")).map((pin) => pin.name);
  assertEquals(names, ["@std/assert", "@std/net", "@std/streams"]);
  assertEquals((await packages("npm")).map((pin) => pin.name), ["node-gyp", "zstd-napi"]);
});

Deno.test("buildJsrTree writes a checksum for every file of a package", async () => {
  await withDirectory(async (directory) => {
    await buildJsrTree(directory);
    for (const { name, version } of await packages("jsr")) {
      const meta = await Deno.readTextFile(new URL(`${name}/${version}_meta.json`, directory));
      const { manifest } = JSON.parse(meta) as {
        manifest: Record<string, { size: number; checksum: string }>;
      };
      for (const [path, { size, checksum }] of Object.entries(manifest)) {
        const bytes = await Deno.readFile(new URL(`${name}/${version}${path}`, directory));
        const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
        assertEquals([size, checksum], [bytes.length, `sha256-${digest.toHex()}`]);
      }
    }
  });
});

Deno.test("buildJsrTree writes nothing the second time", async () => {
  await withDirectory(async (directory) => {
    assertGreater(await buildJsrTree(directory), 0);
    assertEquals(await buildJsrTree(directory), 0);
  });
});
