/** Bodies of requests, of which nobody knows how long they are. */

import type { MiddlewareHandler } from "../npm/hono.ts";
import { problem, problemResponse } from "./problems.ts";

/** Most bytes of a body. */
const MOST_BYTES = 1 << 20;
/** Milliseconds in which it has to be there. */
const TIMEOUT = 30_000;

/** Reads the whole body, as long as it may be, before anything is done; it must be JSON where there is one. */
export function limitBody(timeout: number = TIMEOUT): MiddlewareHandler {
  return async (context, next) => {
    const { raw, method } = context.req;
    if (method === "GET" || method === "HEAD" || raw.body === null) return await next();
    const bytes = await read(raw.body, timeout);
    if (typeof bytes === "number") {
      const response = problemResponse(
        bytes === 413
          ? problem(413, "TOO_LARGE", `Body of more than ${MOST_BYTES} bytes`)
          : problem(408, "TIMEOUT", `Body that did not come within ${timeout / 1000} seconds`),
      );
      // What is still to come of it is not read: whoever sends it is cut off.
      response.headers.set("connection", "close");
      return response;
    }
    const type = raw.headers.get("content-type") ?? "";
    if (bytes.length > 0 && !/^application\/json\b/i.test(type)) {
      return problemResponse(
        problem(
          415,
          "NO_JSON",
          `Body that says to be no JSON: ${type || "nothing said"}: send the header ` +
            "Content-Type: application/json",
        ),
      );
    }
    // Made anew, and not of the other: to take over its signal has Deno warn, which nobody here listens to.
    context.req.raw = new Request(raw.url, { method, headers: raw.headers, body: bytes });
    await next();
  };
}

/** Returns the bytes, or the status of why not. */
async function read(
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
  timeout: number,
): Promise<Uint8Array<ArrayBuffer> | 408 | 413> {
  const reader = body.getReader();
  const { promise: late, resolve } = Promise.withResolvers<"late">();
  const timer = setTimeout(() => resolve("late"), timeout);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  let length = 0;
  try {
    while (true) {
      const chunk = await Promise.race([reader.read(), late]);
      if (chunk === "late") return 408;
      if (chunk.done) break;
      length += chunk.value.length;
      if (length > MOST_BYTES) return 413;
      parts.push(chunk.value);
    }
  } finally {
    clearTimeout(timer);
    reader.cancel().catch(() => {});
  }
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
