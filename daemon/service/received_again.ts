/** How a file goes on that a receive of the daemon has left, in the daemon's own words. */

import { imageNameOf } from "../../image/partial_file.ts";
import { RESUME_THERE, type TakenUpAgain } from "../../image/taken_up.ts";
import { shellWord } from "../../migration/command/shell_word.ts";

/**
 * What takes such a file up, for a shell.
 *
 * @param image the image that is to be made of it
 * @param path the file's name
 */
export function receiveCommand(image: string, path: string): string {
  const partial = path.slice(path.lastIndexOf("/") + 1);
  return `postcopy migrate ${shellWord(image)} --listen tcp:HOST:PORT --recover ${
    shellWord(partial)
  }`;
}

/** Advice for a file that was found in the directory of images. */
export const BY_MIGRATE: TakenUpAgain = (path) => {
  const partial = path.slice(path.lastIndexOf("/") + 1);
  return `${receiveCommand(imageNameOf(partial) ?? "IMAGE", path)}, ${RESUME_THERE}`;
};

/**
 * Advice for the file of a session: it is read when that ends.
 *
 * @param image of the session
 * @param left what is typed at the source where the next daemon goes on with it; undefined where none does
 */
export function receivedAgain(image: string, left: () => string | undefined): TakenUpAgain {
  return (path) => {
    const resume = left();
    return resume === undefined
      ? `${receiveCommand(image, path)}, ${RESUME_THERE}`
      : `start the daemon, which goes on with it by itself, then ${resume} at the source`;
  };
}
