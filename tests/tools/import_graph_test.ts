import { assertEquals } from "@std/assert";
import { circles, type Import, importsIn } from "./import_graph.ts";

Deno.test("importsIn reads what is taken from where", () => {
  const text = `
import { a, type B, c as d } from "../channel/one.ts";
import type { E } from "./two.ts";
import {
  type F,
  type G,
} from "./three.ts";
import * as all from "npm-package";
import "./four.ts";
export { h } from "./five.ts";
export const value = "./six.ts";
/**
 * import { example } from "./seven.ts";
 */
const worker = new URL("./worker.ts", import.meta.url);
const late = await import("./late.ts");
`;
  const found = importsIn("server/file.ts", text);
  assertEquals(found.map(({ to, names, kind }) => [to, names.join(" "), kind]), [
    ["channel/one.ts", "a B c", "value"],
    ["server/two.ts", "E", "type"],
    ["server/three.ts", "F G", "type"],
    ["npm-package", "*", "value"],
    ["server/four.ts", "", "value"],
    ["server/five.ts", "h", "value"],
    ["server/worker.ts", "", "worker"],
    ["server/late.ts", "", "value"],
  ]);
});

function graph(...arrows: string[]): Import[] {
  return arrows.map((arrow) => {
    const [from, to] = arrow.split(">");
    return { from: from!, to: to!, names: [], kind: "value" };
  });
}

Deno.test("circles finds each circle whole, and no file that only leads to one", () => {
  const imports = graph("x>a", "a>b", "b>c", "c>a", "c>p", "p>q", "q>p", "q>y", "b>b2", "b2>b");
  assertEquals(circles(imports).sort(), [["a", "b", "b2", "c"], ["p", "q"]]);
});

Deno.test("circles finds none where two ways lead to one file", () => {
  assertEquals(circles(graph("a>b", "a>c", "b>d", "c>d")), []);
});
