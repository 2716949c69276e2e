/** The names that images have until they are complete. */

/** What follows the image's name: the number of the process, and of the receiver in it. */
export const PARTIAL_NAME = /\.partial-\d+(-\d+)?$/;

/** Whether a name is that of a file that is an image only when it is complete. */
export function isPartialName(path: string): boolean {
  return PARTIAL_NAME.test(path);
}
