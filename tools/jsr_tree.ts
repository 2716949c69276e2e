/**
 * Builds `.jsr/`, a tree of files shaped like the JSR registry, from the stand-ins in `tools/jsr/`.
 * Deno takes `jsr:` packages from it when `JSR_URL` names it (a `file://` URL with a slash at its
 * end). The tree's shape is JSR's: https://jsr.io/docs/api#package-version-metadata
 */

import { packages, type Pin } from "./pins.ts";

/** Where the stand-ins lie. */
const standIns = new URL("./jsr/", import.meta.url);

/**
 * Writes the tree for every `jsr:` package pinned in deno.json.
 *
 * @param root Directory of the tree, with a slash at its end; made when missing.
 * @returns How many files were written; 0 when the tree was up to date.
 */
export async function buildJsrTree(root: URL): Promise<number> {
  let written = 0;
  for (const pin of await packages("jsr")) written += await buildPackage(root, pin);
  return written;
}

async function buildPackage(root: URL, pin: Pin): Promise<number> {
  const slash = pin.name.indexOf("/");
  const scope = pin.name.slice(1, slash);
  const name = pin.name.slice(slash + 1);
  const home = new URL(`${pin.name}/`, root);
  const manifest: Record<string, { size: number; checksum: string }> = {};
  let written = 0;
  const from = new URL(`${name}/`, standIns);
  for await (const entry of Deno.readDir(from)) {
    const bytes = await Deno.readFile(new URL(entry.name, from));
    manifest[`/${entry.name}`] = { size: bytes.length, checksum: await checksum(bytes) };
    written += await writeChanged(new URL(`${pin.version}/${entry.name}`, home), bytes);
  }
  written += await writeJson(new URL(`${pin.version}_meta.json`, home), {
    manifest,
    exports: { ".": "./mod.ts" },
  });
  written += await writeJson(new URL("meta.json", home), {
    scope,
    name,
    latest: pin.version,
    versions: { [pin.version]: {} },
  });
  return written;
}

async function checksum(bytes: Uint8Array<ArrayBuffer>): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return `sha256-${digest.toHex()}`;
}

async function writeJson(file: URL, value: unknown): Promise<number> {
  return await writeChanged(file, new TextEncoder().encode(JSON.stringify(value)));
}

/** Writes a file unless it holds these bytes already; several tasks may do so at once. */
async function writeChanged(file: URL, bytes: Uint8Array): Promise<number> {
  try {
    const present = await Deno.readFile(file);
    if (present.length === bytes.length && present.every((byte, i) => byte === bytes[i])) return 0;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  await Deno.mkdir(new URL(".", file), { recursive: true });
  const temporary = new URL(`${file.href}.${Deno.pid}`);
  await Deno.writeFile(temporary, bytes);
  await Deno.rename(temporary, file);
  return 1;
}
