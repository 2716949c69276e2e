/** The description of the interface, and answers that fit it. */
import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import type { z } from "../../daemon/npm/zod_openapi.ts";
import { problemSchema } from "../../daemon/api/problems.ts";
import * as schemas from "../../daemon/api/schemas.ts";
import { TestImage } from "../support/images.ts";
import { restore, Waiting } from "./destinations.ts";
import { TestDaemon } from "./test_daemon.ts";

interface Document {
  readonly openapi: string;
  readonly paths: Record<string, Record<string, { readonly responses: Record<string, unknown> }>>;
  readonly components: {
    readonly schemas: Record<string, { readonly properties?: Record<string, unknown> }>;
  };
}

/** All that the contract names. */
const ROUTES = [
  "GET /v1/health",
  "GET /v1/images",
  "GET /v1/images/{name}",
  "GET /v1/images/{name}/order",
  "GET /v1/migrations",
  "POST /v1/migrations",
  "GET /v1/migrations/{id}",
  "DELETE /v1/migrations/{id}",
  "PATCH /v1/migrations/{id}",
  "POST /v1/migrations/{id}/pause",
  "POST /v1/migrations/{id}/recover",
  "POST /v1/migrations/{id}/cancel",
  "POST /v1/migrations/{id}/postcopy",
  "GET /v1/migrations/{id}/wait",
  "GET /v1/migrations/{id}/map",
  "GET /v1/lazy",
  "POST /v1/lazy",
  "GET /v1/lazy/{id}",
  "DELETE /v1/lazy/{id}",
  "POST /v1/lazy/{id}/cancel",
  "GET /v1/lazy/{id}/wait",
  "GET /v1/lazy/{id}/dirty",
  "GET /v1/events",
];

Deno.test("GET /v1/openapi.json describes every route, written from the schemas", async () => {
  await using daemon = await TestDaemon.start();
  const document = await daemon.done<Document>("GET", "/v1/openapi.json");
  assertEquals(document.openapi, "3.1.0");
  const described = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`)
  );
  assertEquals(ROUTES.filter((route) => !described.includes(route)), []);
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, { responses }] of Object.entries(methods)) {
      assert("default" in responses, `${method} ${path} says nothing of problems`);
    }
  }
  const { OutgoingRequest, Session } = document.components.schemas;
  assert(Object.hasOwn(OutgoingRequest!.properties!, "maxPostcopyBandwidth"));
  assert(Object.hasOwn(Session!.properties!, "statistics"));
});

Deno.test("answers of the daemon fit the schemas that describe them", async () => {
  using image = await TestImage.make({ ram: 64 });
  await using daemon = await TestDaemon.start();
  await daemon.addImage(image.path, "vm");
  await using waiting = await Waiting.start();
  const fits = async (schema: z.ZodType, path: string, status = 200) => {
    const { status: found, body } = await daemon.ask("GET", path);
    assertEquals(found, status, JSON.stringify(body));
    const parsed = schema.safeParse(body);
    assertEquals(parsed.error?.message, undefined, `${path}: ${JSON.stringify(body)}`);
  };
  const { id } = await daemon.done(
    "POST",
    "/v1/migrations",
    restore("vm", waiting.to, { holdBack: 1 }),
  );
  await fits(schemas.sessionSchema, `/v1/migrations/${id}/wait`);
  await fits(schemas.sessionSchema, `/v1/migrations/${id}`);
  await fits(schemas.sessionsSchema, "/v1/migrations");
  await fits(schemas.lazySchema, "/v1/lazy");
  await fits(schemas.healthSchema, "/v1/health");
  await fits(schemas.imagesSchema, "/v1/images");
  await fits(schemas.inspectionSchema, "/v1/images/vm");
  await fits(problemSchema, "/v1/images/vm/order", 404);
  await fits(problemSchema, "/v1/migrations/none", 404);
  await fits(problemSchema, "/nowhere", 404);
});
