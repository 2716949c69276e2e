/** `GET /`: the page and what it loads, from files beside this one; nothing of it is made or fetched elsewhere. */

/** Media types by the end of a name. */
const TYPES: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
};

/** What is at the path `/`. */
const INDEX = "index.html";
/** Where the others are. */
const FOLDER = "/page/";
/** All others that are given out. */
const FILES = [
  "page.css",
  "uPlot.css",
  "uPlot.js",
  "icon.svg",
  "api.js",
  "charts.js",
  "detail.js",
  "dialogs.js",
  "dom.js",
  "format.js",
  "history.js",
  "memory_map.js",
  "order_picture.js",
  "page.js",
  "session_list.js",
  "theme.js",
] as const;

/**
 * Nothing but the page's own files runs, is loaded or asked: what is injected into it, should that ever be possible,
 * does nothing, and the token that it holds goes nowhere else.
 */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join("; ");

interface PageFile {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly tag: string;
  readonly type: string;
}

const loaded = new Map<string, Promise<PageFile>>();

/** Paths of the page and of its files. */
export const PAGE_PATHS: readonly string[] = ["/", ...FILES.map((name) => `${FOLDER}${name}`)];

/**
 * Answers a request for the page or one of its files.
 *
 * @param path of the request
 * @param known the request's If-None-Match, if it has one
 * @returns undefined when it is none of them
 */
export async function pageResponse(path: string, known?: string): Promise<Response | undefined> {
  if (!PAGE_PATHS.includes(path)) return undefined;
  const name = path === "/" ? INDEX : path.slice(FOLDER.length);
  let file = loaded.get(name);
  if (file === undefined) loaded.set(name, file = load(name));
  const { bytes, tag, type } = await file;
  const headers = {
    "content-type": type,
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    // A daemon that was replaced has other files, and is asked each time.
    "cache-control": "no-cache",
    etag: tag,
  };
  if (known === tag) return new Response(null, { status: 304, headers });
  return new Response(bytes, { headers });
}

async function load(name: string): Promise<PageFile> {
  // fetch, as this module may be one that was installed from a registry.
  const response = await fetch(new URL(name, import.meta.url));
  const bytes = await response.bytes() as Uint8Array<ArrayBuffer>;
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return {
    bytes,
    tag: `"${digest.toHex().slice(0, 32)}"`,
    type: TYPES[name.slice(name.lastIndexOf(".") + 1)]!,
  };
}
