/** The daemon's interface, as the page uses it. */

const KEPT_TOKEN = "postcopy-token";
/** Milliseconds before the stream of events is asked for again, once it ended. */
const AGAIN = 2000;

let token = sessionStorage.getItem(KEPT_TOKEN) ?? "";

/** What the daemon answered when it did not do what was asked: RFC 9457. */
export class Problem extends Error {
  constructor(status, { title, detail, code, remedy }) {
    super(detail ?? title ?? `The daemon answered with status ${status}`);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.remedy = remedy;
  }
}

/** Uses a token from now on; an empty one forgets it. It is kept for this tab alone. */
export function setToken(given) {
  token = given;
  if (given === "") sessionStorage.removeItem(KEPT_TOKEN);
  else sessionStorage.setItem(KEPT_TOKEN, given);
}

/** Whether there is a token to be forgotten. */
export function hasToken() {
  return token !== "";
}

/**
 * Asks the daemon.
 *
 * @param path below /v1
 * @returns the answer's JSON; undefined for an empty one
 * @throws {Problem} when it refuses
 * @throws {TypeError} when it cannot be reached
 */
export async function call(path, { method = "GET", body, key, signal } = {}) {
  const response = await fetch(`v1${path}`, {
    method,
    signal,
    headers: {
      ...authorization(),
      ...body === undefined ? {} : { "content-type": "application/json" },
      ...key === undefined ? {} : { "idempotency-key": key },
    },
    ...body === undefined ? {} : { body: JSON.stringify(body) },
  });
  const text = await response.text();
  let answer;
  try {
    answer = text === "" ? undefined : JSON.parse(text);
  } catch {
    answer = undefined; // a proxy in between has said something of its own
  }
  if (!response.ok) throw new Problem(response.status, answer ?? {});
  return answer;
}

/** A key by which the daemon knows a request that is sent twice. */
export function newKey() {
  // randomUUID is there for https alone.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Calls back for each event that the daemon has kept, and for each from now on, as long as the page is there: a
 * stream that ends is asked for again, from where it ended. EventSource cannot send a token.
 *
 * @param heard called with its name and its data
 */
export async function followEvents(heard) {
  let last = "0"; // all that is kept
  while (true) {
    try {
      const response = await fetch("v1/events", {
        headers: {
          accept: "text/event-stream",
          "last-event-id": last,
          ...authorization(),
        },
      });
      if (response.ok) last = await readEvents(response.body, last, heard);
      else await response.body?.cancel();
    } catch {
      // It is asked for again, and the page shows by its other requests that nobody is there.
    }
    await new Promise((resolve) => setTimeout(resolve, AGAIN));
  }
}

/** Reads a stream to its end; returns the id of the last event. */
async function readEvents(body, before, heard) {
  let last = before;
  let text = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  while (true) {
    const { done, value } = await reader.read().catch(() => ({ done: true }));
    if (done) return last;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = parseEvent(block);
      last = event.id ?? last;
      if (event.data !== undefined) heard(event.name, event.data);
    }
  }
}

/** Parses one event of a stream; of a comment nothing is left. */
export function parseEvent(block) {
  const event = { name: "message", id: undefined, data: undefined };
  const data = [];
  for (const line of block.split("\n")) {
    const colon = line.indexOf(":");
    if (colon === 0) continue;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") event.name = value;
    else if (field === "id") event.id = value;
    else if (field === "data") data.push(value);
  }
  if (data.length === 0) return event;
  try {
    event.data = JSON.parse(data.join("\n"));
  } catch {
    event.data = undefined;
  }
  return event;
}

function authorization() {
  return token === "" ? {} : { authorization: `Bearer ${token}` };
}
