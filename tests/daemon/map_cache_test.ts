import { assertEquals } from "@std/assert";
import { MapCache } from "../../daemon/service/map_cache.ts";

Deno.test("MapCache draws a map a few times a second, however many look", () => {
  let now = 0;
  const cache = new MapCache(() => now);
  const drawn: string[] = [];
  const look = (id: string, cells: number) =>
    cache.get(id, cells, (cells) => void drawn.push(`${id} ${cells}`));
  for (now = 0; now < 250; now++) look("a", 10);
  assertEquals(drawn, ["a 10"]);
  look("a", 10);
  look("b", 10);
  look("a", 20);
  assertEquals(drawn, ["a 10", "a 10", "b 10", "a 20"]);
});
