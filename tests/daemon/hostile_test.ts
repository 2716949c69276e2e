/** Requests that are wrong, by accident or not. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { within } from "../support/deadline.ts";
import { TestDaemon } from "./test_daemon.ts";

const REQUEST = { direction: "outgoing", image: "vm", to: "tcp:127.0.0.1:1" };

Deno.test("the daemon says what is wrong with a body, where, and what was meant", async () => {
  await using daemon = await TestDaemon.start();
  const cases: [unknown, string, string][] = [
    [{ ...REQUEST, imgae: "vm" }, "#/imgae", "did you mean image?"],
    [{ ...REQUEST, compress: { methd: "zlib" } }, "#/compress/methd", "did you mean method?"],
    [{ ...REQUEST, maxPostcopyBandwidth: -1 }, "#/maxPostcopyBandwidth", "-1"],
    [{ ...REQUEST, stallTimeout: "5" }, "#/stallTimeout", '"5"'],
    [{ direction: "sideways" }, "#/direction", '"sideways"'],
    [[], "#", "[]"],
    ["text", "#", '"text"'],
    [null, "#", "null"],
  ];
  for (const [body, pointer, text] of cases) {
    const problem = await daemon.refused("POST", "/v1/migrations", body);
    assertEquals([problem.status, problem.code], [400, "BAD_REQUEST"], JSON.stringify(body));
    const error = problem.errors?.find((each) => each.pointer === pointer);
    assert(error?.detail.includes(text), `${JSON.stringify(body)}: ${JSON.stringify(problem)}`);
  }
  assertEquals(daemon.mistakes, []);
});

Deno.test("the daemon refuses bodies that are no JSON, too long, or say to be something else", async () => {
  await using daemon = await TestDaemon.start();
  const json = { "content-type": "application/json" };
  const cases: [number, BodyInit, Record<string, string>][] = [
    [400, "{", json],
    [400, "\xff\xfe\0", json],
    [400, new Uint8Array([0xff, 0xfe, 0x00]), json],
    [413, `"${"x".repeat(2 << 20)}"`, json],
    [415, JSON.stringify(REQUEST), { "content-type": "text/plain" }],
    [415, JSON.stringify(REQUEST), { "content-type": "multipart/form-data" }],
    [400, "[".repeat(200_000), json],
    [400, `{"a":`.repeat(50_000), json],
    [400, '{"__proto__": {"direction": "outgoing"}}', json],
    [400, "", json],
  ];
  for (const [status, raw, headers] of cases) {
    const problem = await daemon.refused("POST", "/v1/migrations", undefined, { raw, headers });
    assertEquals(problem.status, status, JSON.stringify(problem));
    assertEquals(typeof problem.detail, "string");
  }
  assertEquals((await daemon.ask("GET", "/v1/health")).status, 200);
  assertEquals(daemon.mistakes, []);
});

Deno.test("the daemon serves others while a body never ends, and refuses it in the end", async () => {
  await using daemon = await TestDaemon.start();
  const endless = new ReadableStream<Uint8Array>({
    pull(controller) {
      controller.enqueue(new Uint8Array(1 << 16));
    },
  });
  const problem = await daemon.refused("POST", "/v1/migrations", undefined, {
    raw: endless,
    headers: { "content-type": "application/json" },
  });
  assertEquals(problem.status, 413);
  using connection = await Deno.connect({
    transport: "unix",
    path: `${daemon.directory}/daemon.sock`,
  });
  const head =
    "POST /v1/migrations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{";
  await connection.write(new TextEncoder().encode(head));
  assertEquals((await daemon.ask("GET", "/v1/health")).status, 200);
});

Deno.test("the daemon gives problems of RFC 9457 for whatever it does not have", async () => {
  await using daemon = await TestDaemon.start();
  const cases: [string, string, number, string][] = [
    ["GET", "/v1/migrations/none", 404, "NO_SUCH_SESSION"],
    ["GET", "/v1/migrations/..%2f..%2fetc", 404, "NO_SUCH_SESSION"],
    ["DELETE", "/v1/migrations/none", 404, "NO_SUCH_SESSION"],
    ["POST", "/v1/migrations/none/cancel", 404, "NO_SUCH_SESSION"],
    ["GET", "/v1/lazy/none", 404, "NO_SUCH_SESSION"],
    ["GET", "/v1/images/none", 404, "NO_SUCH_IMAGE"],
    ["GET", "/v1/images/..%2Fstate%2Fdaemon.lock", 400, "BAD_NAME"],
    ["GET", "/v1/images/%2e%2e", 404, "NO_SUCH_PATH"],
    ["GET", "/v1/images/%00", 400, "BAD_NAME"],
    ["GET", "/nothing", 404, "NO_SUCH_PATH"],
    ["GET", "/v1/migrations/none/wait?timeout=-1", 400, "BAD_REQUEST"],
    ["GET", "/v1/migrations/none/wait?for=nothing", 400, "BAD_REQUEST"],
  ];
  for (const [method, path, status, code] of cases) {
    const answer = await daemon.ask<Record<string, unknown>>(method, path);
    const { body, headers } = answer;
    assertEquals(
      [answer.status, body["status"], body["code"]],
      [status, status, code],
      `${path}: ${JSON.stringify(body)}`,
    );
    assertEquals(headers.get("content-type"), "application/problem+json");
    assert(typeof body["title"] === "string" && typeof body["detail"] === "string", path);
  }
  assertEquals(daemon.mistakes, []);
});

Deno.test("the daemon starts nothing for who names what may not be named", async () => {
  await using daemon = await TestDaemon.start();
  await Deno.writeTextFile(`${daemon.images}/vm`, "no image");
  const lazy = { kind: "firecracker", socket: "s", image: "vm" };
  const incoming = { direction: "incoming", image: "new", listen: "tcp:127.0.0.1:0" };
  const cases: [string, unknown, string][] = [
    ["/v1/migrations", { ...REQUEST, image: "../state/daemon.lock" }, "BAD_NAME"],
    ["/v1/migrations", { ...REQUEST, tls: { credentials: "/etc/ssl" } }, "BAD_NAME"],
    ["/v1/migrations", { ...REQUEST, to: "http://localhost" }, "BAD_ADDRESS"],
    ["/v1/migrations", { ...REQUEST, recover: true, startAnew: true }, "BAD_REQUEST"],
    ["/v1/migrations", { ...REQUEST, image: "vm" }, "not-an-image"],
    ["/v1/migrations", { ...incoming, image: "../new" }, "BAD_NAME"],
    ["/v1/migrations", { ...incoming, listen: "unix:/tmp/elsewhere" }, "BAD_NAME"],
    ["/v1/migrations", { ...incoming, recover: "../vm.partial-1" }, "BAD_NAME"],
    ["/v1/migrations", { ...incoming, image: "vm" }, "EEXIST"],
    ["/v1/lazy", { ...lazy, socket: "/tmp/elsewhere" }, "BAD_NAME"],
    ["/v1/lazy", { ...lazy, from: "tcp:127.0.0.1:1/vm" }, "BAD_REQUEST"],
    ["/v1/lazy", { kind: "criu", images: "../images" }, "BAD_NAME"],
    ["/v1/lazy", { kind: "criu", images: "/etc" }, "BAD_NAME"],
  ];
  for (const [path, body, code] of cases) {
    const problem = await daemon.refused("POST", path, body);
    assertEquals(problem.code, code, `${JSON.stringify(body)}: ${problem.detail}`);
  }
  const { migrations } = await daemon.done<{ migrations: unknown[] }>("GET", "/v1/migrations");
  assertEquals(migrations, []);
  assertEquals([...Deno.readDirSync(daemon.images)].map(({ name }) => name), ["vm"]);
  assertEquals(daemon.mistakes, []);
});

Deno.test("the daemon lets no reader of events hold it up that reads nothing", async () => {
  await using daemon = await TestDaemon.start();
  const ending = new AbortController();
  const stream = await daemon.events(ending.signal);
  // More than every buffer between the two ends holds.
  const text = "x".repeat(1 << 16);
  for (let i = 0; i < 200; i++) daemon.service.events.add({ event: "note", text: `${i} ${text}` });
  assertEquals((await daemon.ask("GET", "/v1/health")).status, 200);
  for (let i = 0; i < 10_000; i++) daemon.service.events.add({ event: "note", text: `after ${i}` });
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let read = "";
  while (!read.includes('"text":"after 9999"')) {
    const { value = "", done } = await within("an event", reader.read());
    if (done) throw new Error("It ended");
    read += value;
  }
  const missed = [...read.matchAll(/event: missed\ndata: {"missed":(\d+)}/g)]
    .reduce((sum, [, count]) => sum + Number(count), 0);
  const came = [...read.matchAll(/^event: note$/gm)].length;
  assertEquals(missed + came, 10_200);
  assert(missed > 0, "it missed some");
  ending.abort();
  await reader.cancel().catch(() => {});
});

Deno.test("the daemon gives events again from that which a reader had last", async () => {
  await using daemon = await TestDaemon.start();
  const { events } = daemon.service;
  for (const text of ["a", "b", "c"]) events.add({ event: "note", text });
  const ending = new AbortController();
  const headers = { "last-event-id": `${events.last - 1}` };
  const stream = await daemon.events(ending.signal, headers);
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let read = "";
  while (!read.includes("data: ")) read += (await within("an event", reader.read())).value;
  assert(read.includes(`id: ${events.last}\nevent: note\n`) && read.includes('"text":"c"'), read);
  assertEquals(read.includes('"text":"b"'), false);
  ending.abort();
  await reader.cancel().catch(() => {});
  const problem = await daemon.refused("GET", "/v1/events", undefined, {
    headers: { "last-event-id": "nonsense" },
  });
  assertEquals(problem.code, "BAD_REQUEST");
});
