/** Names of files that others say, and that lead nowhere but where they may. */

import { ServiceError } from "./service_error.ts";

/** Most bytes of a file's name (NAME_MAX of Linux). */
const MOST_BYTES = 255;

/**
 * Sees that a name can be that of a file in a directory, and of none elsewhere.
 *
 * @param what it is a name of, as `"image"`
 * @throws {ServiceError} `BAD_NAME`
 */
export function checkName(what: string, name: string): void {
  const bytes = new TextEncoder().encode(name).length;
  // deno-lint-ignore no-control-regex -- that is what must not be in it
  if (bytes >= 1 && bytes <= MOST_BYTES && !/^\.|[/\x00-\x1f\x7f]/.test(name)) return;
  throw new ServiceError(
    "BAD_NAME",
    `No name of an ${what}: ${
      JSON.stringify(name)
    }: give the name of a file of the configured directory, ` +
      "without a path, and not beginning with a dot",
  );
}

/**
 * Returns the real path of a file of a directory.
 *
 * @param directory the directory, which may be a link itself
 * @param name the file's name in it
 * @param what it is a name of, as `"image"`
 * @returns the path without links; undefined when there is no such file
 * @throws {ServiceError} `BAD_NAME` for a name that leads out of the directory, by a link too
 */
export async function findWithin(
  directory: string,
  name: string,
  what: string,
): Promise<string | undefined> {
  checkName(what, name);
  try {
    const [home, path] = await Promise.all([
      Deno.realPath(directory),
      Deno.realPath(`${directory}/${name}`),
    ]);
    if (isWithin(home, path)) return path;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
  throw new ServiceError(
    "BAD_NAME",
    `Link out of the directory of ${what}s: ${name}: name its target in the configuration instead`,
  );
}

/** Whether a real path lies below a directory's. */
export function isWithin(directory: string, path: string): boolean {
  return path.startsWith(directory.endsWith("/") ? directory : `${directory}/`);
}

/**
 * Returns the path of a file that is to be made in a directory, or in one below it.
 *
 * @param directory which it must not leave; undefined when none is configured
 * @param path a name in it, or a path that lies in it
 * @param what it is the path of, as `"socket"`
 * @param key what configures the directory
 * @throws {ServiceError} `BAD_NAME`
 */
export async function placeWithin(
  directory: string | undefined,
  path: string,
  what: string,
  key: string,
): Promise<string> {
  if (directory === undefined) {
    throw new ServiceError(
      "BAD_NAME",
      `No directory of ${what}s is configured, so none can be named: ${path}: set ${key}`,
    );
  }
  const home = await Deno.realPath(directory);
  const whole = path.startsWith("/") ? path : `${home}/${path}`;
  const slash = whole.lastIndexOf("/");
  const name = whole.slice(slash + 1);
  checkName(what, name);
  // Its parent is looked at without links: the file itself need not be there.
  const parent = await Deno.realPath(whole.slice(0, slash) || "/").catch(() => "");
  if (parent === home || isWithin(home, parent)) return `${parent}/${name}`;
  throw new ServiceError(
    "BAD_NAME",
    `${what[0]!.toUpperCase()}${what.slice(1)} outside of ${key}, ${home}: ${path}: name one in it`,
  );
}
