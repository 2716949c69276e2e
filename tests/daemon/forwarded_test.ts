/** The daemon's unix socket, forwarded to a port for a browser, as `ssh -L` does: no other site may use it. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { within } from "../support/deadline.ts";
import { testUnless } from "../support/skip.ts";
import { Browser, needsChromium } from "./browser.ts";
import { makeDirectory, TestDaemon } from "./test_daemon.ts";

/** Forwards connections of a port of the loopback to a unix socket. */
class Forward implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #done: Promise<void>;

  constructor(path: string) {
    this.#done = this.#run(path);
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }

  async #run(path: string): Promise<void> {
    const ends: Promise<void>[] = [];
    try {
      for await (const client of this.#listener) ends.push(forward(client, path));
    } catch {
      // It is closed.
    }
    await Promise.all(ends);
  }
}

async function forward(client: Deno.Conn, path: string): Promise<void> {
  const server = await Deno.connect({ transport: "unix", path });
  const ways = [client.readable.pipeTo(server.writable), server.readable.pipeTo(client.writable)];
  await Promise.allSettled(ways);
}

/** Asks with these headers, and returns the answer's status. */
async function answers(
  port: number,
  headers: Record<string, string>,
  method: string,
): Promise<number> {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const lines = Object.entries({ host: `localhost:${port}`, connection: "close", ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`);
  await connection.write(
    new TextEncoder().encode(`${method} /v1/migrations HTTP/1.1\r\n${lines.join("")}\r\n`),
  );
  const text = await within("an answer", new Response(connection.readable).text());
  return Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]);
}

Deno.test("the daemon's unix socket serves programs, and of a browser's pages its own alone", async () => {
  const directory = makeDirectory();
  await using _daemon = await TestDaemon.start("", directory);
  await using forwarded = new Forward(`${directory}/daemon.sock`);
  const { port } = forwarded;
  const browser = { "user-agent": "Mozilla/5.0 (X11; Linux x86_64)" };
  const own = { ...browser, origin: `http://localhost:${port}`, "sec-fetch-site": "same-origin" };
  const cases: [number, Record<string, string>, string][] = [
    [200, {}, "GET"],
    [200, { host: "anything", "user-agent": "curl/8.0" }, "GET"],
    [200, own, "GET"],
    [400, { ...own, "content-type": "application/json", "content-length": "0" }, "POST"],
    [403, { ...own, origin: "https://evil.example", "sec-fetch-site": "cross-site" }, "POST"],
    [403, { ...browser, origin: "null" }, "POST"],
    [403, { origin: "https://evil.example" }, "GET"],
    // A name that was led here: its pages are of the same origin, and send neither.
    [421, { ...browser, host: `evil.example:${port}` }, "GET"],
    [421, { ...own, host: "evil.example", origin: "http://evil.example" }, "POST"],
  ];
  for (const [status, headers, method] of cases) {
    const found = await answers(port, headers, method);
    assertEquals(found, status, `${method} ${JSON.stringify(headers)}`);
  }
});

testUnless(
  needsChromium(),
  "the page needs no token where the daemon's unix socket is forwarded",
  async () => {
    const directory = makeDirectory();
    await using _daemon = await TestDaemon.start("", directory);
    await using forwarded = new Forward(`${directory}/daemon.sock`);
    await using browser = await Browser.start();
    const { page, wrong } = await browser.open(`http://localhost:${forwarded.port}/`);
    await page.getByText("Connected", { exact: true }).waitFor();
    await page.getByText("Nothing moves yet").waitFor();
    assertEquals(await page.getByRole("button", { name: "Sign out" }).isVisible(), false);
    assertEquals(wrong, []);
  },
);
