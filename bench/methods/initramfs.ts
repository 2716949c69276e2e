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

/** The libraries that programs are linked with, and the linker itself. */
function librariesOf(programs: readonly string[]): string[] {
  const { stdout } = new Deno.Command("ldd", { args: [...programs], stderr: "null" }).outputSync();
  const text = new TextDecoder().decode(stdout);
  return [...new Set([...text.matchAll(/(\/\S+\.so\S*) \(0x/g)].map((match) => match[1]!))];
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
 * Builds the archive.
 *
 * @param size bytes of the guest's memory, at least 128 MiB
 * @throws {Error} when a program is missing
 */
export function buildInitramfs(size: number): Uint8Array<ArrayBuffer> {
  const file = (path: string, data: Uint8Array): CpioEntry => ({
    path,
    mode: CpioType.FILE | 0o755,
    data,
  });
  const paths = PROGRAMS.map((name) => {
    const path = programPath(name);
    if (path === undefined) throw new Error(`No ${name} on this machine for the guest`);
    return path;
  });
  const libraries = librariesOf(paths);
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
  for (const name of ["bin/", "dev/", "proc/", "tmp/", "text/"]) makeDirectories(name);
  entries.push({ path: "dev/console", mode: CpioType.DEVICE | 0o600, device: [5, 1] });
  entries.push({ path: "dev/null", mode: CpioType.DEVICE | 0o666, device: [1, 3] });
  PROGRAMS.forEach((name, i) => entries.push(file(`bin/${name}`, Deno.readFileSync(paths[i]!))));
  for (const library of libraries) {
    makeDirectories(library.slice(1));
    entries.push(file(library.slice(1), Deno.readFileSync(library)));
  }
  hostFiles(size * FILES_SHARE).forEach((data, i) => entries.push(file(`text/${i}`, data)));
  entries.push(file("init", encoder.encode(initScript(size))));
  return encodeCpio(entries);
}
