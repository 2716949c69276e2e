/** Child processes whose answers may be failures, and what their parent makes of them. */

import { answerLines, type BenchProcess } from "../support/bench_process.ts";

/** The answer to what could not be done. */
interface Failed {
  readonly error: string;
}

/** The child's side: like {@linkcode answerLines}, but what `handle` throws is an answer too. */
export async function answerTries(handle: (message: unknown) => Promise<unknown>): Promise<void> {
  await answerLines(async (message) => {
    try {
      return await handle(message);
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      return { error: text } satisfies Failed;
    }
  });
}

/**
 * Asks a child that answers with {@linkcode answerTries}.
 *
 * @throws {Error} with what the child says
 */
export async function ask<A>(child: BenchProcess, message: unknown): Promise<A> {
  const answer = await child.ask<A | Failed>(message);
  const failed = answer as Partial<Failed>;
  if (failed.error !== undefined) throw new Error(failed.error);
  return answer as A;
}
