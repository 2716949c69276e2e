/** The map of an image that is being received. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { until } from "../support/deadline.ts";
import { ALL, PAGES, receiving } from "./received.ts";
import { breakOff, resumeAll } from "./resuming_source.ts";

Deno.test(
  "ImageReceiver's map shows what has come, and all of it once the image is whole",
  receiving(async (reception) => {
    const { receiver } = reception;
    assertEquals(receiver.memoryMap(4), undefined);
    await breakOff(reception, ALL.slice(0, 20));
    const map = receiver.memoryMap(4)!;
    assertEquals([map["page-size"], map["pages-per-cell"]], [4096, 16]);
    assertEquals(map.blocks, [{ name: "ram", pages: PAGES, "first-cell": 0, cells: 4 }]);
    assertEquals([map.sent, map.missing], [[16, 4, 0, 0], [0, 12, 16, 16]]);
    assertEquals([map.requested, map.asked, map.absent], Array(3).fill([0, 0, 0, 0]));
    using _again = await resumeAll(reception.to);
    await reception.completes();
    await until("the last page", () => receiver.memoryMap(1)!.sent[0] === PAGES);
    assertEquals(receiver.memoryMap(1)!.missing, [0]);
  }),
);
