/** Links of the documents lead to what is there: files, and headings by their names. */
import { assertEquals } from "@std/assert";

const root = new URL("../../", import.meta.url);

/** A document's text without what is quoted. */
async function textOf(path: string): Promise<string> {
  const text = await Deno.readTextFile(new URL(path, root));
  return text.replace(/^ *```[^]*?^ *```$/gm, "");
}

/** The names of a document's headings, as GitHub makes them. */
function headingsOf(text: string): Set<string> {
  const headings = text.matchAll(/^#+ (.*)$/gm);
  return new Set(
    [...headings].map(([, heading = ""]) =>
      heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase()
        .replace(/[^\p{L}\p{N}_ -]/gu, "").replaceAll(" ", "-")
    ),
  );
}

const documents = ["README.md", "CONTRIBUTING.md"];
for (const { name } of Deno.readDirSync(new URL("docs", root))) {
  if (name.endsWith(".md")) documents.push(`docs/${name}`);
}

for (const document of documents) {
  Deno.test(`links in ${document} lead to files and headings that are there`, async () => {
    const here = new URL(document, root);
    const links = (await textOf(document)).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g);
    const dead: string[] = [];
    for (const [link, path = "", heading] of links) {
      const target = path === "" ? here : new URL(path, here);
      const isThere = await Deno.stat(target).then(() => true, () => false);
      if (!isThere) dead.push(link);
      else if (heading !== undefined && target.pathname.endsWith(".md")) {
        if (!headingsOf(await textOf(target.href)).has(heading)) dead.push(link);
      }
    }
    assertEquals(dead, []);
  });
}

Deno.test("operations.md leads to the steps to a daemon by their names", async () => {
  const text = await textOf("docs/operations.md");
  const [, section = ""] = /^## The daemon$([^]*?)^## /m.exec(text) ?? [];
  const steps = [...section.matchAll(/^\d\. \[[^\]]*\]\(daemon\.md#([^)]*)\)/gm)];
  assertEquals(steps.map(([, heading]) => heading), [
    "from-a-bare-debian-host-to-a-guest-that-runs",
    "tcp-tls-tokens",
    "figures",
  ]);
  const [first = ""] = text.split("\n- ");
  assertEquals(first.includes("](#the-daemon)"), true, first);
});
