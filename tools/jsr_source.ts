/** Decides where `jsr:` packages come from: JSR itself, or the stand-ins where it does not answer. */

import { buildJsrTree } from "./jsr_tree.ts";

const root = new URL("../", import.meta.url);
const tree = new URL(".jsr/", root);
const denoDir = new URL(".deno/", root);
const answerFile = new URL("jsr_answer.json", denoDir);

/** How long JSR has to answer, in milliseconds. */
const probeTimeout = 3000;
/** How long its answer is believed, in milliseconds. */
const answerLife = 24 * 60 * 60 * 1000;

/** Where packages come from. */
export interface JsrSource {
  /** Variables that Deno must be started with. */
  readonly environment: Record<string, string>;
  /** Whether the packages are the stand-ins in tools/jsr/. */
  readonly standIns: boolean;
}

/**
 * Finds out whether JSR answers, and builds the tree of stand-ins where it does not. A JSR_URL that
 * the caller set stands.
 *
 * @returns What to start Deno with.
 */
export async function findJsr(): Promise<JsrSource> {
  const chosen = Deno.env.get("JSR_URL");
  if (chosen !== undefined && chosen !== tree.href) return { environment: {}, standIns: false };
  if (chosen === undefined && await jsrAnswers()) return { environment: {}, standIns: false };
  await buildJsrTree(tree);
  // A cache of its own: what JSR_URL puts there must never be taken for the real packages.
  const environment = { JSR_URL: tree.href, DENO_DIR: decodeURIComponent(denoDir.pathname) };
  return { environment, standIns: true };
}

interface Answer {
  readonly answers: boolean;
  readonly at: number;
}

async function jsrAnswers(): Promise<boolean> {
  try {
    const known = JSON.parse(await Deno.readTextFile(answerFile)) as Answer;
    if (Math.abs(Date.now() - known.at) < answerLife) return known.answers;
  } catch {
    // Not asked yet.
  }
  const answer: Answer = { answers: await probe(), at: Date.now() };
  try {
    await Deno.mkdir(denoDir, { recursive: true });
    await Deno.writeTextFile(answerFile, JSON.stringify(answer));
  } catch {
    // A checkout that cannot be written to: it is asked every time.
  }
  return answer.answers;
}

async function probe(): Promise<boolean> {
  try {
    const response = await fetch("https://jsr.io/@std/assert/meta.json", {
      signal: AbortSignal.timeout(probeTimeout),
    });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}
