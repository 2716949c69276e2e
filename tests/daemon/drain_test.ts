/** A service that is told to end. */
import "../support/native.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { ServiceError } from "../../daemon/service/service_error.ts";
import { within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { Waiting } from "./destinations.ts";
import { TestDaemon } from "./test_daemon.ts";

Deno.test("Service that is told to end ends a session whose image is being opened, and hands no guest over", async () => {
  using image = await TestImage.make({ ram: 256 });
  await using daemon = await TestDaemon.start(`images.files = { vm = "${image.path}" }`);
  await using waiting = await Waiting.start();
  const { to, guest } = waiting;
  const { service } = daemon;
  const started = service.start({ direction: "outgoing", image: "vm", to, order: "off" }, "key");
  const refused = assertRejects(() => started, ServiceError, "takes no more sessions");
  await within("the drain", service.drain());
  await within("the refusal", refused);
  assertEquals(service.list(), []);
  assertEquals((await service.store.read()).kept, []);
  assertEquals(guest.calls, []);
  image.assertUntouched();
});
