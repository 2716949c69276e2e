/** How a file goes on whose receive has ended, and that lacks pages. */

/**
 * How its owner takes such a file up again, and what is typed at the source: advice in the middle of a sentence.
 *
 * @param path the file's name
 */
export type TakenUpAgain = (path: string) => string;

/** What is typed at the source once somebody listens there for it. */
export const RESUME_THERE = "then migrate -d -r tcp:HOST:PORT at the source";

/** In the words of `receive`. */
export const BY_RECEIVE: TakenUpAgain = (path) =>
  `postcopy receive --recover ${path} --listen tcp:HOST:PORT, ${RESUME_THERE}`;
