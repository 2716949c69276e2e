/** What a collector of OpenTelemetry gets, by Deno's own support. */
import { assert, assertEquals } from "@std/assert";
import { within } from "../support/deadline.ts";

/** A span as OTLP's JSON has it, as far as it is looked at. */
interface OtlpSpan {
  readonly name: string;
  readonly attributes: readonly { readonly key: string; readonly value: Record<string, unknown> }[];
  readonly events: readonly { readonly name: string }[];
  readonly status?: { readonly code?: number; readonly message?: string };
}

Deno.test("traceSessions makes a span of each session, with its statuses and figures", async () => {
  const { promise, resolve } = Promise.withResolvers<OtlpSpan>();
  await using collector = Deno.serve(
    { hostname: "127.0.0.1", port: 0, onListen: () => {} },
    async (request) => {
      const text = await request.text();
      if (new URL(request.url).pathname === "/v1/traces") {
        const { resourceSpans } = JSON.parse(text);
        for (const { scopeSpans } of resourceSpans) {
          for (const { spans } of scopeSpans) for (const span of spans) resolve(span);
        }
      }
      return Response.json({});
    },
  );
  const script = new URL("./traced_session.ts", import.meta.url).pathname;
  const output = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", script],
    env: {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.addr.port}`,
    },
  }).output();
  assertEquals(output.code, 0, new TextDecoder().decode(output.stderr));
  const span = await within("the span", promise);
  assertEquals(span.name, "postcopy outgoing");
  assertEquals(span.events.map(({ name }) => name), ["postcopy-paused", "failed"]);
  const attribute = (key: string) =>
    Object.values(span.attributes.find((each) => each.key === key)?.value ?? {}).map(String)[0];
  assertEquals(
    ["session", "image", "status", "faults", "transferred.urgent"].map((key) =>
      attribute(`postcopy.${key}`)
    ),
    ["a1", "vm", "failed", "3", "300"],
  );
  assert(span.status?.message === "the link broke", JSON.stringify(span.status));
});
