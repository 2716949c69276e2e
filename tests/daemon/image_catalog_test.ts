/** Images by their names. */
import {
  assertEquals,
  assertNotStrictEquals,
  assertRejects,
  assertStrictEquals,
} from "@std/assert";
import "../support/native.ts";
import { placeWithin } from "../../daemon/service/contained.ts";
import { ImageCatalog } from "../../daemon/service/image_catalog.ts";
import { ServiceError } from "../../daemon/service/service_error.ts";
import { TestImage } from "../support/images.ts";

/** Runs a test with directories `images` and `elsewhere`. */
async function withDirectories(test: (root: string, catalog: ImageCatalog) => Promise<void>) {
  const root = await Deno.makeTempDir();
  try {
    await Deno.mkdir(`${root}/images`);
    await Deno.mkdir(`${root}/elsewhere`);
    await Deno.writeTextFile(`${root}/elsewhere/secret`, "secret");
    await Deno.writeTextFile(`${root}/images/vm`, "vm");
    const files = { web: `${root}/elsewhere/secret` };
    await test(root, new ImageCatalog({ directory: `${root}/images`, files }));
  } finally {
    await Deno.remove(root, { recursive: true });
  }
}

async function codeOf(call: () => Promise<unknown>): Promise<string> {
  return (await assertRejects(call, ServiceError)).code;
}

const HOSTILE = [
  "../elsewhere/secret",
  "..",
  ".",
  "",
  "/etc/passwd",
  "a/../../elsewhere/secret",
  "..\\elsewhere",
  "vm\0",
  "vm\n",
  ".hidden",
  "x".repeat(300),
  "%2e%2e",
];

Deno.test("ImageCatalog finds no file outside of its directory, whatever the name", () =>
  withDirectories(async (root, catalog) => {
    for (const name of HOSTILE) {
      const code = await codeOf(() => catalog.find(name));
      assertEquals(["BAD_NAME", "NO_SUCH_IMAGE"].includes(code), true, name);
      await Promise.resolve();
    }
    await Deno.symlink(`${root}/elsewhere/secret`, `${root}/images/link`);
    await Deno.symlink("../elsewhere", `${root}/images/directory`);
    await Deno.symlink("vm", `${root}/images/alias`);
    assertEquals(await codeOf(() => catalog.find("link")), "BAD_NAME");
    assertEquals(await codeOf(() => catalog.find("directory/secret")), "BAD_NAME");
    // A link to another of its images leads nowhere else.
    assertEquals(await catalog.find("alias"), `${await Deno.realPath(root)}/images/vm`);
    assertEquals(await catalog.find("web"), `${await Deno.realPath(root)}/elsewhere/secret`);
  }));

Deno.test("ImageCatalog writes no image outside of its directory, and none that another name is for", () =>
  withDirectories(async (root, catalog) => {
    for (const name of HOSTILE.filter((name) => !["..\\elsewhere", "%2e%2e"].includes(name))) {
      assertEquals(await codeOf(() => catalog.toWrite(name)), "BAD_NAME", name);
    }
    for (const name of ["web", "vm.postcopy-order", "vm.partial-12", "x.postcopy-index"]) {
      assertEquals(await codeOf(() => catalog.toWrite(name)), "BAD_NAME", name);
    }
    assertEquals(await catalog.toWrite("new"), `${await Deno.realPath(root)}/images/new`);
  }));

Deno.test("ImageCatalog lists images, and nothing that lies beside them", () =>
  withDirectories(async (root, catalog) => {
    const beside = [
      "vm.json",
      "vm.devices",
      "vm.postcopy-order",
      "vm.postcopy-index",
      ".x",
      "vm.partial-3",
    ];
    for (const name of [...beside, "other.json"]) {
      await Deno.writeTextFile(`${root}/images/${name}`, "");
    }
    await Deno.mkdir(`${root}/images/directory`);
    await Deno.symlink(`${root}/elsewhere/secret`, `${root}/images/link`);
    const list = await catalog.list();
    assertEquals(list.map(({ name }) => name), ["other.json", "vm", "web"]);
    assertEquals(list.map(({ order }) => order), [false, true, false]);
  }));

Deno.test("ImageCatalog whose directory is gone says so", () =>
  withDirectories(async (root, catalog) => {
    await Deno.remove(`${root}/images`, { recursive: true });
    assertEquals(await codeOf(() => catalog.list()), "NO_DIRECTORY");
    assertEquals(await codeOf(() => catalog.toWrite("new")), "NO_DIRECTORY");
  }));

Deno.test("ImageCatalog opens an image once for all, and anew when the file has changed", async () => {
  using saved = await TestImage.make({ ram: 16 });
  const catalog = new ImageCatalog({ directory: undefined, files: { vm: saved.path } });
  const one = await catalog.open("vm");
  const other = await catalog.open("vm");
  assertStrictEquals(one.image, other.image);
  assertEquals((await catalog.list())[0]!.sessions, 2);
  one[Symbol.dispose]();
  one[Symbol.dispose]();
  assertEquals((await catalog.list())[0]!.sessions, 1);
  await Deno.utime(saved.path, new Date(), new Date(0));
  const third = await catalog.open("vm");
  assertNotStrictEquals(third.image, other.image);
  other[Symbol.dispose]();
  assertEquals(third.image.blocks.length, 1);
  third[Symbol.dispose]();
  assertEquals((await catalog.list())[0]!.sessions, 0);
});

Deno.test("placeWithin names a file of its directory alone", () =>
  withDirectories(async (root) => {
    const home = await Deno.realPath(`${root}/images`);
    const place = (path: string) =>
      placeWithin(`${root}/images`, path, "socket", "directories.sockets");
    await Deno.mkdir(`${root}/images/deep`);
    await Deno.symlink("../elsewhere", `${root}/images/away`);
    assertEquals(await place("one"), `${home}/one`);
    assertEquals(await place("deep/one"), `${home}/deep/one`);
    assertEquals(await place(`${home}/deep/one`), `${home}/deep/one`);
    for (
      const path of [
        "../one",
        "away/one",
        "/tmp/one",
        "deep/../../elsewhere/one",
        "gone/one",
        "",
        ".",
      ]
    ) {
      assertEquals(await codeOf(() => place(path)), "BAD_NAME", path);
    }
    assertEquals(
      await codeOf(() => placeWithin(undefined, "x", "socket", "directories.sockets")),
      "BAD_NAME",
    );
  }));
