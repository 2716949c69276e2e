/** Who may ask: whoever may use the unix socket; over TCP, whoever has the token, and no page of another site. */

import { isIP } from "node:net";
import type { Context, MiddlewareHandler } from "../npm/hono.ts";
import { problem, problemResponse } from "./problems.ts";
import { DaemonError } from "../service/daemon_error.ts";

/** How a request came in. */
export type Door = "unix" | "tcp";

/** What is asked of those who come in by TCP. */
export interface TcpRules {
  /** What they must show. */
  readonly token: string;
  /** Names by which they may call the daemon, beside addresses and localhost. */
  readonly hosts: readonly string[];
}

/** Paths that show nothing of the daemon: the page, which asks for the token. */
const OPEN = /^\/(page\/\w[\w-]*(\.\w+)*)?$/;

/**
 * Lets in who may ask.
 *
 * @param rules of TCP; undefined where there is none
 * @param doorOf tells how a request came in
 */
export function guardAccess(
  rules: () => TcpRules | undefined,
  doorOf: (context: Context) => Door,
): MiddlewareHandler {
  return async (context, next) => {
    const { req } = context;
    const refusal = doorOf(context) === "unix"
      ? whyForward(req.raw)
      : await whyNot(req.raw, req.path, rules());
    if (refusal !== undefined) return problemResponse(refusal);
    await next();
  };
}

/**
 * The unix socket asks for nothing. But a browser comes that way too, where somebody has it forwarded to a port
 * (ssh -L), and in it pages of other sites, which must not use what its user may.
 */
function whyForward(request: Request) {
  const { headers } = request;
  // Not each request of theirs has the first two: none that a page sends to a name of its own does.
  const browser = headers.has("origin") || headers.has("sec-fetch-site") ||
    /^Mozilla\//.test(headers.get("user-agent") ?? "");
  return browser ? whyForeign(request, undefined) : undefined;
}

async function whyNot(request: Request, path: string, rules: TcpRules | undefined) {
  const foreign = whyForeign(request, rules);
  if (foreign !== undefined) return foreign;
  if (OPEN.test(path) && (request.method === "GET" || request.method === "HEAD")) return undefined;
  const [, shown] = /^Bearer +(\S+) *$/i.exec(request.headers.get("authorization") ?? "") ?? [];
  if (rules !== undefined && shown !== undefined && await isSame(shown, rules.token)) {
    return undefined;
  }
  return problem(
    401,
    "UNAUTHORIZED",
    shown === undefined
      ? "No token shown: send the header Authorization: Bearer TOKEN"
      : "Wrong token shown: take that of api.tcp.tokenFile",
  );
}

/** Why a browser's request is none of a page of the daemon's own. */
function whyForeign(request: Request, rules: TcpRules | undefined) {
  // HTTP/2 has it in the URL alone.
  const host = request.headers.get("host") ?? new URL(request.url).host;
  const name = host.replace(/:\d+$/, "").replace(/^\[|\]$/g, "").toLowerCase();
  const known = isIP(name) !== 0 || name === "localhost" || rules?.hosts.includes(name);
  // A name that somebody else may have lead here: a page of that name would be of the same origin.
  if (!known) {
    return problem(
      421,
      "WRONG_HOST",
      `Not a name of this daemon: ${name}: add it to api.tcp.hosts, or call it by its address`,
    );
  }
  const origin = request.headers.get("origin");
  const site = request.headers.get("sec-fetch-site");
  const foreign = (origin !== null && !isOrigin(origin, host)) ||
    (site === "cross-site" && request.method !== "GET");
  if (foreign) {
    return problem(403, "CROSS_SITE", `Not for pages of another site: ${origin ?? site}`);
  }
  return undefined;
}

/** Whether a page's origin is the daemon itself, as the page calls it. */
function isOrigin(origin: string, host: string): boolean {
  return URL.canParse(origin) && new URL(origin).host === host.toLowerCase();
}

/** Compares in a time that tells nothing of where two texts differ. */
async function isSame(one: string, other: string): Promise<boolean> {
  const sums = await Promise.all(
    [one, other].map(async (text) =>
      new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)))
    ),
  );
  let difference = 0;
  for (let i = 0; i < 32; i++) difference |= sums[0]![i]! ^ sums[1]![i]!;
  return difference === 0;
}

/** Fewest characters of a token: less could be guessed. */
const SHORTEST_TOKEN = 16;

/**
 * Reads the token.
 *
 * @param path of its file
 * @throws {DaemonError} when there is none, or one that could be guessed
 */
export async function readToken(path: string): Promise<string> {
  const remedy = `make one: (umask 077; openssl rand -hex 32 > ${path})`;
  let token: string;
  try {
    token = (await Deno.readTextFile(path)).trim();
  } catch (error) {
    throw new DaemonError(`Token cannot be read: ${path}: ${(error as Error).message}: ${remedy}`);
  }
  const { mode } = await Deno.stat(path);
  if (mode !== null && (mode & 0o077) !== 0) {
    throw new DaemonError(`Token that others may read: ${path}: chmod 600 ${path}`);
  }
  if (token.length >= SHORTEST_TOKEN && !/\s/.test(token)) return token;
  throw new DaemonError(
    `Token of fewer than ${SHORTEST_TOKEN} characters, or with blanks in it: ${path}: ${remedy}`,
  );
}
