// deno-lint-ignore-file no-console -- part of a command: it tells what takes long

/**
 * Where the recordings of real QEMU lie, and how they are made where there are none.
 *
 * They hold QEMU's firmware, so they are not part of the repository: those beside the checkout are
 * taken where somebody put them, else the set-up makes them with the QEMUs that it finds.
 */

import type { RecordedQemu } from "../qemu/recorder.ts";
import { cache } from "./cache.ts";
import { exists } from "./debian.ts";

/** Recordings that were made elsewhere, of several versions, beside the checkout. */
const SHARED = new URL("../../shared/fixtures/", import.meta.url);
/** Recordings made here: a directory for each version or pair of versions. */
const MADE = new URL("recordings/", cache);
/** Goes up when recordings become others, so that they are made again. */
const RECIPE = 1;

/** Whether the recordings are those beside the checkout, of which the tests know every figure. */
export const sharedRecordings: boolean = exists(SHARED);

const directories: readonly URL[] = sharedRecordings ? [SHARED] : madeDirectories();

/**
 * Finds a recording.
 *
 * @param path Such as `capture-qemu72.bin.zst`.
 * @returns Undefined when there is none.
 */
export function findRecording(path: string): URL | undefined {
  return directories.map((directory) => new URL(path, directory)).find(exists);
}

/** Names of all files and directories of recordings. */
export function listRecordings(): string[] {
  return directories.flatMap((directory) => [...Deno.readDirSync(directory)])
    .map(({ name }) => name);
}

function madeDirectories(): URL[] {
  try {
    return [...Deno.readDirSync(MADE)]
      .filter(({ name, isDirectory }) => isDirectory && name.endsWith(`.r${RECIPE}`))
      .map(({ name }) => new URL(`${name}/`, MADE));
  } catch {
    return []; // None was made yet.
  }
}

/**
 * Makes the recordings of the installed QEMU, and of that in `QEMU_SYSTEM`, once for each version.
 * Does nothing where recordings lie beside the checkout, or for a user that is not root, whose QEMU
 * cannot take a postcopy migration.
 *
 * @returns What could not be recorded, one sentence each.
 */
export async function provideRecordings(): Promise<string[]> {
  if (sharedRecordings || Deno.uid() !== 0) return [];
  const { recordPair, recordQemu } = await import("../qemu/recorder.ts");
  const problems: string[] = [];
  const make = async (
    key: string,
    record: (directory: string) => Promise<string[]>,
  ): Promise<void> => {
    try {
      problems.push(...await makeOnce(`${key}.r${RECIPE}`, record));
    } catch (error) {
      problems.push(`Cannot record QEMU ${key}: ${error instanceof Error ? error.message : error}`);
    }
  };
  const [installed, named] = await findQemus();
  for (const qemu of [installed, named]) {
    if (qemu === undefined) continue;
    await make(qemu.version.join("."), (directory) => recordQemu(qemu, directory));
  }
  if (installed !== undefined && named !== undefined) {
    const key = `${installed.version.join(".")}-to-${named.version.join(".")}`;
    await make(key, (directory) => recordPair(installed, named, directory));
  }
  return problems;
}

/** The installed QEMU, and the one in `QEMU_SYSTEM` where that is another version. */
async function findQemus(): Promise<(RecordedQemu | undefined)[]> {
  const { qemuFromEnvironment, versionOf } = await import("../qemu/qemu_binary.ts");
  const binaries = [qemuFromEnvironment({ get: () => undefined }), qemuFromEnvironment()];
  const [installed, named] = await Promise.all(binaries.map(async (binary) => {
    const version = await versionOf(binary);
    return version && { binary, version };
  }));
  const same = installed?.version.join(".") === named?.version.join(".");
  return [installed, same ? undefined : named];
}

/** Makes one directory of recordings, unless it is there; whoever comes second waits for the first. */
async function makeOnce(
  name: string,
  record: (directory: string) => Promise<string[]>,
): Promise<string[]> {
  const made = new URL(`${name}/`, MADE);
  if (exists(made)) return [];
  await Deno.mkdir(MADE, { recursive: true });
  using lock = await Deno.open(new URL("lock", MADE), { create: true, write: true });
  await lock.lock(true);
  if (exists(made)) return [];
  console.error(`Recording QEMU, for the tests that read what it writes: ${name}`);
  // What an interrupted set-up left.
  for (const { name: other } of Deno.readDirSync(MADE)) {
    if (other.endsWith(".partial")) await Deno.remove(new URL(other, MADE), { recursive: true });
  }
  const partial = new URL(`${name}.partial`, MADE);
  await Deno.mkdir(partial);
  const problems = await record(decodeURIComponent(partial.pathname));
  await Deno.rename(partial, made);
  return problems;
}
