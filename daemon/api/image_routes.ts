/** Routes of images. */

import { inspectImage } from "../../image/inspect/inspect.ts";
import { orderPath, readOrderFile } from "../../image/order/order_file.ts";
import { orderReport } from "../../server/command/order_command.ts";
import { createRoute } from "../npm/zod_openapi.ts";
import { ServiceError } from "../service/service_error.ts";
import { answer, nameParameter, PROBLEMS } from "./responses.ts";
import { type Api, type ApiContext, reply } from "./route_kit.ts";
import { imagesSchema, inspectionSchema, orderSchema } from "./schemas.ts";

const tags = ["images"];

const list = createRoute({
  method: "get",
  path: "/v1/images",
  tags,
  summary: "Lists the images",
  responses: { 200: answer(imagesSchema, "All images, by name"), ...PROBLEMS },
});

const inspect = createRoute({
  method: "get",
  path: "/v1/images/{name}",
  tags,
  summary: "Says what is in an image, as inspect --json does",
  request: { params: nameParameter },
  responses: { 200: answer(inspectionSchema, "What is in it"), ...PROBLEMS },
});

const order = createRoute({
  method: "get",
  path: "/v1/images/{name}/order",
  tags,
  summary: "The order in which its machine touched its memory in restores before",
  request: { params: nameParameter },
  responses: { 200: answer(orderSchema, "The order"), ...PROBLEMS },
});

/** Adds the routes. */
export function addImageRoutes(api: Api, { service: { images } }: ApiContext): void {
  api.openapi(list, async () => reply({ images: await images.list() }));
  api.openapi(inspect, async (context) => {
    using lease = await images.open(context.req.valid("param").name);
    return reply(await inspectImage(lease.image));
  });
  api.openapi(order, async (context) => {
    const { name } = context.req.valid("param");
    using lease = await images.open(name);
    const found = await readOrderFile(orderPath(lease.image));
    if (typeof found === "object") return reply(orderReport(found));
    throw new ServiceError(
      "NO_SUCH_IMAGE",
      `No order of this image: ${name}: ${
        found ?? "one is kept when its machine has asked for pages"
      }`,
    );
  });
}
