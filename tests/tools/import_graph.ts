/** Which file of the tree imports which, and in what circles. */

/** An import of one file by another, both named from the root of the tree. */
export interface Import {
  /** The importer. */
  readonly from: string;
  /** The file that it takes names from; of a package its name. */
  readonly to: string;
  /** The names taken, as the other file calls them; none for `import "x"`, `*` for all. */
  readonly names: readonly string[];
  /**
   * Types only: nothing is left of it at run time. A worker's entry is another program, which loads
   * what it imports anew.
   */
  readonly kind: "value" | "type" | "worker";
}

// Imports and re-exports stand at the start of a line, which an example in a comment does not.
const STATEMENT =
  /^(?:import|export)(?<type>\s+type)?\s+(?:(?<names>\*(?:\s+as\s+\w+)?|\w+|\{[^}]*\})\s+from\s+)?"(?<target>[^"]+)"/gm;
const REFERENCE = /(?<how>\bimport\(|new URL\()\s*"(?<target>\.[^"]+\.ts)"/g;

/** Lists the TypeScript files in some folders of the tree, and those that lie beside the folders. */
export async function sourceFiles(root: URL, folders: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  const visit = async (folder: string): Promise<void> => {
    for await (const { name, isDirectory } of Deno.readDir(new URL(folder, root))) {
      const deep = folder !== "" || folders.includes(name);
      if (isDirectory && deep) await visit(`${folder}${name}/`);
      else if (name.endsWith(".ts")) files.push(`${folder}${name}`);
    }
  };
  await visit("");
  return files.sort();
}

/** Reads the imports of files. */
export async function readImports(root: URL, files: readonly string[]): Promise<Import[]> {
  const texts = await Promise.all(files.map((file) => Deno.readTextFile(new URL(file, root))));
  return files.flatMap((file, i) => importsIn(file, texts[i]!));
}

/** Finds the imports in a file's text. */
export function importsIn(from: string, text: string): Import[] {
  const found: Import[] = [];
  for (const match of text.matchAll(STATEMENT)) {
    const { type, names = "{}", target } = match.groups as Record<string, string | undefined>;
    const parts = names.replace(/[{}]/g, "").split(",").map((part) => part.trim())
      .filter((part) => part !== "");
    const typed = parts.length > 0 && parts.every((part) => part.startsWith("type "));
    found.push({
      from,
      to: resolve(from, target!),
      names: parts.map((part) => part.replace(/^type /, "").replace(/ as .*/, "")),
      kind: type !== undefined || typed ? "type" : "value",
    });
  }
  for (const match of text.matchAll(REFERENCE)) {
    const { how, target } = match.groups as Record<string, string>;
    const kind = how === "new URL(" ? "worker" : "value";
    found.push({ from, to: resolve(from, target!), names: [], kind });
  }
  return found;
}

function resolve(from: string, target: string): string {
  if (!target.startsWith(".")) return target;
  return new URL(target, `file:///${from}`).pathname.slice(1);
}

/**
 * Finds the circles: files each of which leads to every other of its circle by imports.
 *
 * @returns the files of each circle, by name
 */
export function circles(imports: readonly Import[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to } of imports) {
    next.set(from, [...next.get(from) ?? [], to]);
  }
  // Tarjan's strongly connected components: a file's `low` is the earliest open one that it leads to.
  const index = new Map<string, number>();
  const low = new Map<string, number>();
  const open: string[] = [];
  const found: string[][] = [];
  const visit = (file: string): void => {
    index.set(file, index.size);
    low.set(file, index.get(file)!);
    open.push(file);
    for (const target of next.get(file) ?? []) {
      if (!index.has(target)) visit(target);
      if (open.includes(target)) low.set(file, Math.min(low.get(file)!, low.get(target)!));
    }
    if (low.get(file) !== index.get(file)) return;
    const circle = open.splice(open.indexOf(file)).sort();
    if (circle.length > 1) found.push(circle);
  };
  for (const file of next.keys()) if (!index.has(file)) visit(file);
  return found;
}
