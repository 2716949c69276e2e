/** Finds programs, also the administrator's, whose directories a plain user's PATH leaves out. */

const DIRECTORIES = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"];

/**
 * Looks for a command.
 *
 * @param command File name of the command, without a directory, or its path.
 * @returns Its path, or undefined when no directory of PATH, /usr/sbin and /sbin holds it.
 */
export function findCommand(command: string): string | undefined {
  if (command.includes("/")) return isFile(command) ? command : undefined;
  for (const directory of DIRECTORIES) {
    if (directory !== "" && isFile(`${directory}/${command}`)) return `${directory}/${command}`;
  }
  return undefined;
}

/**
 * Gives what to start as a command: its path where it is found, else its name, so that starting it
 * says that it is missing.
 *
 * @param command File name of the command, without a directory.
 */
export function commandPath(command: string): string {
  return findCommand(command) ?? command;
}

function isFile(path: string): boolean {
  try {
    return Deno.statSync(path).isFile;
  } catch {
    return false; // It is not there, or not for us to look at.
  }
}
