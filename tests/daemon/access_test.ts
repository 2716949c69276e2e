/** Who may ask the daemon, through its real sockets. */
import "../support/native.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { Authority } from "../../qemu/authority.ts";
import { ApiServer } from "../../daemon/api/listen.ts";
import { testUnless } from "../support/skip.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { within } from "../support/deadline.ts";
import { makeDirectory, TestDaemon } from "./test_daemon.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";

/** The TCP side of a configuration. */
async function tcpConfig(directory: string, more = "insecure = true"): Promise<string> {
  await Deno.writeTextFile(`${directory}/token`, `${TOKEN}\n`, { mode: 0o600 });
  return [
    "[api.tcp]",
    'listen = "tcp:127.0.0.1:0"',
    `tokenFile = "${directory}/token"`,
    'hosts = ["guests.example.org"]',
    more,
  ].join("\n");
}

/** What a client sends by hand: fetch would not let it choose its Host. */
async function answers(
  port: number,
  path: string,
  headers: Record<string, string>,
  method = "GET",
) {
  using connection = await Deno.connect({ hostname: "127.0.0.1", port });
  const lines = Object.entries({ host: `127.0.0.1:${port}`, connection: "close", ...headers })
    .map(([name, value]) => `${name}: ${value}\r\n`);
  await connection.write(
    new TextEncoder().encode(`${method} ${path} HTTP/1.1\r\n${lines.join("")}\r\n`),
  );
  const text = await within("an answer", new Response(connection.readable).text());
  return Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1]);
}

Deno.test("the daemon answers by TCP to who shows its token, and to nobody else", async () => {
  const directory = makeDirectory();
  await using daemon = await TestDaemon.start(await tcpConfig(directory), directory);
  const address = daemon.api.addresses.find((each) => each.startsWith("tcp:"))!;
  const port = Number(address.split(":").at(-1));
  const bearer = { authorization: `Bearer ${TOKEN}` };
  const cases: [number, string, Record<string, string>, string?][] = [
    [200, "/v1/health", bearer],
    [200, "/v1/health", { authorization: `bearer  ${TOKEN} ` }],
    [401, "/v1/health", {}],
    [401, "/v1/health", { authorization: `Bearer ${TOKEN}0` }],
    [401, "/v1/health", { authorization: `Bearer ${TOKEN.slice(1)}` }],
    [401, "/v1/health", { authorization: `Basic ${TOKEN}` }],
    [401, "/v1/openapi.json", {}],
    [401, "/metrics", {}],
    [401, "//", {}],
    [401, "/page/../v1/health", {}],
    [401, "/v1/migrations", {}, "POST"],
    [401, "/page/", {}, "POST"],
    // Names that somebody else may have lead here.
    [421, "/v1/health", { ...bearer, host: `evil.example:${port}` }],
    [421, "/", { host: "127.0.0.1.evil.example" }],
    [200, "/v1/health", { ...bearer, host: "guests.example.org" }],
    [200, "/v1/health", { ...bearer, host: `LOCALHOST:${port}` }],
    [200, "/v1/health", { ...bearer, host: `[::1]:${port}` }],
    // Pages of other sites.
    [403, "/v1/health", { ...bearer, origin: "https://evil.example" }],
    [403, "/v1/migrations", { ...bearer, "sec-fetch-site": "cross-site" }, "POST"],
    [403, "/v1/health", { ...bearer, origin: "null" }],
    [200, "/v1/health", { ...bearer, origin: `http://127.0.0.1:${port}` }],
  ];
  for (const [status, path, headers, method] of cases) {
    const found = await answers(port, path, headers, method);
    assertEquals(found, status, `${method ?? "GET"} ${path} ${JSON.stringify(headers)}`);
  }
  assertEquals(
    (await daemon.ask("GET", "/v1/health")).status,
    200,
    "the unix socket needs no token",
  );
  assertEquals(daemon.mistakes, []);
});

testUnless(needsOpenssl(), "the daemon answers by TLS", async () => {
  await using authority = await Authority.make();
  await authority.issue("server", { purpose: "serverAuth" });
  const directory = makeDirectory();
  const tls = `tls = { cert = "${authority.path("server-cert.pem")}", key = "${
    authority.path("server-key.pem")
  }" }`;
  await using daemon = await TestDaemon.start(await tcpConfig(directory, tls), directory);
  const port = daemon.api.addresses.find((each) => each.startsWith("tcp:"))!.split(":").at(-1);
  using client = Deno.createHttpClient({
    caCerts: [await Deno.readTextFile(authority.path("ca-cert.pem"))],
  });
  const response = await fetch(`https://localhost:${port}/v1/health`, {
    client,
    headers: { authorization: `Bearer ${TOKEN}` },
  });
  assertEquals([response.status, (await response.json()).status], [200, "ok"]);
  await assertRejects(() => fetch(`http://localhost:${port}/v1/health`));
});

Deno.test("the daemon does not begin with a token that others can read, or guess", async () => {
  for (
    const [text, mode, expected] of [
      [`${TOKEN}\n`, 0o644, "Token that others may read"],
      ["short\n", 0o600, "Token of fewer than 16 characters"],
      [undefined, 0o600, "Token cannot be read"],
    ] as const
  ) {
    const directory = makeDirectory();
    try {
      const config = await tcpConfig(directory);
      await Deno.remove(`${directory}/token`);
      if (text !== undefined) await Deno.writeTextFile(`${directory}/token`, text, { mode });
      await assertRejects(() => TestDaemon.start(config, directory), Error, expected);
      assertEquals(
        [...Deno.readDirSync(directory)].some(({ name }) => name === "daemon.sock"),
        false,
      );
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }
});

Deno.test("the daemon says why it cannot listen by TCP", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = taken.addr as Deno.NetAddr;
  const directory = makeDirectory();
  try {
    const at = (await tcpConfig(directory)).replace("127.0.0.1:0", `127.0.0.1:${port}`);
    await assertRejects(
      () => TestDaemon.start(at, directory),
      Error,
      `Cannot listen at tcp:127.0.0.1:${port}`,
    );
    await Deno.writeTextFile(`${directory}/pem`, "no certificate");
    const tls = await tcpConfig(
      directory,
      `tls = { cert = "${directory}/pem", key = "${directory}/pem" }`,
    );
    await assertRejects(() => TestDaemon.start(tls, directory), Error, "cert and key PEM files");
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("the daemon's unix socket is for its user alone, and for a group where one is configured", async () => {
  await using daemon = await TestDaemon.start();
  const { mode } = await Deno.stat(`${daemon.directory}/daemon.sock`);
  assertEquals(mode! & 0o777, 0o600);
  const gid = Deno.gid()!;
  await using other = await TestDaemon.start(`api.group = ${gid}`);
  const found = await Deno.stat(`${other.directory}/daemon.sock`);
  assertEquals([found.mode! & 0o777, found.gid], [0o660, gid]);
  await assertRejects(
    () => TestDaemon.start(`api.group = "no-such-group-here"`),
    Error,
    "No such group",
  );
});

Deno.test("a daemon takes the place of a dead one's socket, and none of one that answers", async () => {
  const directory = makeDirectory();
  const socket = `${directory}/daemon.sock`;
  // A socket that nobody listens at any more: as a daemon leaves it that is killed.
  const dead = Deno.listen({ transport: "unix", path: `${socket}.dead` });
  await Deno.rename(`${socket}.dead`, socket);
  dead.close();
  assert((await Deno.lstat(socket)).isSocket);
  await using daemon = await TestDaemon.start("", directory);
  assertEquals((await daemon.ask("GET", "/v1/health")).status, 200);
  const { service } = daemon;
  await assertRejects(
    () => ApiServer.open(service, () => {}),
    Error,
    "A daemon answers there already",
  );
  assertEquals((await daemon.ask("GET", "/v1/health")).status, 200, "the first one still answers");
  await daemon.api.close();
  await assertRejects(() => Deno.lstat(socket), Deno.errors.NotFound);
  await Deno.writeTextFile(socket, "no socket");
  await assertRejects(
    () => ApiServer.open(service, () => {}),
    Error,
    "No socket, and not replaced",
  );
  assertEquals(await Deno.readTextFile(socket), "no socket");
});
