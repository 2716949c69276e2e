/** The file system of a guest that boots Linux: this machine's own programs, libraries and texts. */

import { type CpioEntry, CpioType, encodeCpio } from "./cpio.ts";
import { hostFiles } from "./host_files.ts";

/** Programs of the guest, of which every Debian has all but perhaps perl. */
const PROGRAMS = ["bash", "cat", "gzip", "head", "mkdir", "mount", "perl", "sleep", "sort", "tar"];
/** What the guest prints once it has done its work. */
export const READY_LINE = "GUEST READY";

/** Files beside the programs, as a share of the guest's memory: they lie in its page cache. */
const FILES_SHARE = 0.1;

/**
 * What the guest does: it keeps processes with data of their own, sorts and packs what it finds, and
 * then rests.
 *
 * @param size bytes of its memory: the more it has, the more it does
 */
export function initScript(size: number): string {
  return `#!/bin/bash
export PATH=/bin
mount -t proc proc /proc
mount -t tmpfs tmpfs /tmp
perl -e 'opendir D, "/text"; for (readdir D) { open F, "<", "/text/$_";
    while (<F>) { $n{$_}++ for split /\\W+/; last if ($bytes += length) > ${size / 32} } }
  print scalar(keys %n), " words\\n"; open F, ">", "/tmp/words"; sleep' &
perl -e '@a = map { { id => $_, name => "entry $_", next => $_ + 1 } } 1..${size / 16384};
  print scalar(@a), " entries\\n"; open F, ">", "/tmp/entries"; sleep' &
cat /text/* | head -c ${size / 64} | sort > /tmp/sorted
tar -c /text | head -c ${size / 32} | gzip -1 > /tmp/packed.gz
for i in 1 2 3 4; do
  2> /dev/null bash -c \
    'lines=$(head -c ${size / 1024} /tmp/sorted); : > /tmp/shell'$i'; sleep infinity & wait' &
done
for file in words entries shell1 shell2 shell3 shell4; do
  until [ -e /tmp/$file ]; do sleep 0.1; done
done
echo ${READY_LINE}
sleep infinity
`;
}

const encoder = new TextEncoder();

/** What a guest that boots Linux finds. */
export interface GuestFiles {
  /** Names of this machine's programs. */
  readonly programs: readonly string[];
  /** Programs by their names in the guest, from a tree of unpacked packages. */
  readonly unpacked?: {
    /** The tree; what a program needs is looked for there, then on this machine. */
    readonly tree: string;
    /** Path of each in the tree, by name. */
    readonly programs: Readonly<Record<string, string>>;
  };
  /** Further files, by path without a leading slash; their directories are made. */
  readonly files: Readonly<Record<string, Uint8Array>>;
  /** What it runs: a script. */
  readonly init: string;
}

/** The libraries that programs are linked with, and the linker itself, by path in the guest. */
function librariesOf(programs: readonly string[], tree = ""): Map<string, string> {
  const path = { LD_LIBRARY_PATH: `${tree}/usr/lib/x86_64-linux-gnu` };
  const { stdout } = new Deno.Command("ldd", {
    args: [...programs],
    stderr: "null",
    env: tree === "" ? {} : path,
  }).outputSync();
  const text = new TextDecoder().decode(stdout);
  return new Map([...text.matchAll(/(\/\S+\.so\S*) \(0x/g)].map((match) => {
    const here = match[1]!;
    return [here.startsWith(`${tree}/`) ? here.slice(tree.length) : here, here];
  }));
}

function programPath(name: string): string | undefined {
  return ["/bin", "/usr/bin"].map((directory) => `${directory}/${name}`).find((path) => {
    try {
      return Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  });
}

/**
 * Builds the archive of a file system.
 *
 * @throws {Error} when a program is missing
 */
export function buildFileSystem(
  { programs, unpacked, files, init }: GuestFiles,
): Uint8Array<ArrayBuffer> {
  const paths = new Map(programs.map((name) => {
    const path = programPath(name);
    if (path === undefined) throw new Error(`No ${name} on this machine for the guest`);
    return [name, path];
  }));
  const libraries = librariesOf([...paths.values()]);
  for (const [name, path] of Object.entries(unpacked?.programs ?? {})) {
    paths.set(name, `${unpacked!.tree}/${path}`);
    librariesOf([paths.get(name)!], unpacked!.tree).forEach((here, there) =>
      libraries.set(there, here)
    );
  }
  const entries: CpioEntry[] = [];
  const made = new Set<string>();
  const makeDirectories = (path: string): void => {
    const words = path.split("/");
    for (let i = 1; i < words.length; i++) {
      const directory = words.slice(0, i).join("/");
      if (made.has(directory)) continue;
      made.add(directory);
      entries.push({ path: directory, mode: CpioType.DIRECTORY | 0o755 });
    }
  };
  const add = (path: string, data: Uint8Array): void => {
    makeDirectories(path);
    entries.push({ path, mode: CpioType.FILE | 0o755, data });
  };
  for (const name of ["bin/", "dev/", "proc/", "tmp/"]) makeDirectories(name);
  entries.push({ path: "dev/console", mode: CpioType.DEVICE | 0o600, device: [5, 1] });
  entries.push({ path: "dev/null", mode: CpioType.DEVICE | 0o666, device: [1, 3] });
  for (const [name, path] of paths) add(`bin/${name}`, Deno.readFileSync(path));
  for (const [there, here] of libraries) add(there.slice(1), Deno.readFileSync(here));
  for (const [path, data] of Object.entries(files)) add(path, data);
  add("init", encoder.encode(init));
  return encodeCpio(entries);
}

/** Files of this machine as a guest of so much memory has them, beside its programs. */
export function textFiles(size: number): Record<string, Uint8Array> {
  return Object.fromEntries(hostFiles(size * FILES_SHARE).map((data, i) => [`text/${i}`, data]));
}

/**
 * Builds the archive.
 *
 * @param size bytes of the guest's memory, at least 128 MiB
 * @throws {Error} when a program is missing
 */
export function buildInitramfs(size: number): Uint8Array<ArrayBuffer> {
  return buildFileSystem({ programs: PROGRAMS, files: textFiles(size), init: initScript(size) });
}
