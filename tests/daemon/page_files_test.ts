/** The page's files: what is given out, and what that is. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { PAGE_PATHS, pageResponse } from "../../daemon/page/page.ts";

const folder = new URL("../../daemon/page/", import.meta.url);

Deno.test("pageResponse gives out every file of the page, and nothing else", async () => {
  const names = [...Deno.readDirSync(folder)].map(({ name }) => name)
    .filter((name) => !/\.ts$|LICENSE/.test(name));
  const expected = names.map((name) => name === "index.html" ? "/" : `/page/${name}`);
  assertEquals([...PAGE_PATHS].sort(), expected.sort());
  for (const path of PAGE_PATHS) {
    const response = await pageResponse(path);
    const name = path === "/" ? "index.html" : path.slice("/page/".length);
    assertEquals(await response!.bytes(), await Deno.readFile(new URL(name, folder)));
  }
  for (
    const path of [
      "/page/page.ts",
      "/page/../api/app.ts",
      "/page/index.html",
      "/v1/images",
      "/nothing",
      "//",
    ]
  ) {
    assertEquals(await pageResponse(path), undefined, path);
  }
});

Deno.test("pageResponse allows the page nothing that is not its own", async () => {
  const { headers } = (await pageResponse("/"))!;
  const policy = headers.get("content-security-policy")!;
  assertMatch(policy, /^default-src 'none'; script-src 'self'; style-src 'self';/);
  assert(!/unsafe|https?:|data:|\*/.test(policy), policy);
  assertEquals(headers.get("x-content-type-options"), "nosniff");
});

Deno.test("pageResponse says that a file is as it was to who has it", async () => {
  const first = (await pageResponse("/page/page.css"))!;
  await first.body?.cancel();
  const again = (await pageResponse("/page/page.css", first.headers.get("etag")!))!;
  assertEquals([again.status, again.body], [304, null]);
  const other = (await pageResponse("/page/page.css", '"other"'))!;
  assertEquals(other.status, 200);
  await other.body?.cancel();
});

Deno.test("the page names no file that is not given out, and none elsewhere", async () => {
  for (const path of PAGE_PATHS.filter((path) => path !== "/")) {
    const text = await (await pageResponse(path))!.text();
    if (path.startsWith("/page/uPlot")) continue;
    const imports = text.matchAll(/from "\.(\/[^"]+)"/g).map(([, name]) => `/page${name}`);
    for (const name of imports) assert(PAGE_PATHS.includes(name), `${path}: ${name}`);
    assertEquals(/https?:\/\/(?!www\.w3\.org)/.test(text), false, path);
  }
  const html = await (await pageResponse("/"))!.text();
  const named = html.matchAll(/(?:src|href)="([^"#]+)"/g).map(([, name]) => `/${name}`);
  for (const name of named) assert(PAGE_PATHS.includes(name.replace(/#.*/, "")), name);
});

Deno.test("the page's identifiers are those that its scripts look for", async () => {
  const html = await (await pageResponse("/"))!.text();
  const ids = html.matchAll(/\bid="([^"]+)"/g).map(([, id]) => id!).toArray();
  assertEquals(ids.length, new Set(ids).size, "an id stands twice");
  for (const path of PAGE_PATHS.filter((path) => /^\/page\/(?!uPlot).*\.js$/.test(path))) {
    const text = await (await pageResponse(path))!.text();
    for (const [, id] of text.matchAll(/\bthe\("([^"]+)"\)/g)) {
      assert(ids.includes(id!), `${path}: ${id}`);
    }
  }
});
