import {
  assert,
  assertAlmostEquals,
  assertArrayIncludes,
  assertEquals,
  assertExists,
  assertFalse,
  assertGreater,
  assertGreaterOrEqual,
  assertInstanceOf,
  AssertionError,
  assertIsError,
  assertLess,
  assertLessOrEqual,
  assertMatch,
  assertNotEquals,
  assertNotMatch,
  assertNotStrictEquals,
  assertObjectMatch,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
  assertThrows,
  fail,
  unreachable,
} from "@std/assert";
import { getAvailablePort } from "@std/net";
import { mergeReadableStreams, TextLineStream, toArrayBuffer, toJson, toText } from "@std/streams";

/** Every assertion with arguments it refuses; the same for the stand-ins and the real package. */
const refused: Record<string, () => unknown> = {
  "assert of false": () => assert(false),
  "assertFalse of 1": () => assertFalse(1),
  "assertEquals of different numbers": () => assertEquals(1, 2),
  "assertEquals of different depths": () =>
    assertEquals({ a: [1, { b: 2 }] }, { a: [1, { b: 3 }] }),
  "assertEquals of arrays of bytes": () =>
    assertEquals(new Uint8Array(4096), new Uint8Array(4096).fill(1, 4095)),
  "assertEquals of a missing key": () => assertEquals<unknown>({ a: 1 }, { a: 1, b: 2 }),
  "assertNotEquals of equals": () => assertNotEquals({ a: [1] }, { a: [1] }),
  "assertStrictEquals of copies": () => assertStrictEquals({ a: 1 }, { a: 1 }),
  "assertNotStrictEquals of the same": () => assertNotStrictEquals(1, 1),
  "assertObjectMatch of another value": () => assertObjectMatch({ a: { b: 1 } }, { a: { b: 2 } }),
  "assertAlmostEquals of distant numbers": () => assertAlmostEquals(1, 1.1, 0.01),
  "assertGreater of equals": () => assertGreater(1, 1),
  "assertGreaterOrEqual of less": () => assertGreaterOrEqual(0, 1),
  "assertLess of equals": () => assertLess(1, 1),
  "assertLessOrEqual of more": () => assertLessOrEqual(2, 1),
  "assertExists of undefined": () => assertExists(undefined),
  "assertInstanceOf of another class": () => assertInstanceOf(new Map(), Set),
  "assertIsError of another message": () => assertIsError(new Error("this"), Error, "that"),
  "assertMatch of another text": () => assertMatch("a", /b/),
  "assertNotMatch of a match": () => assertNotMatch("a", /a/),
  "assertStringIncludes of another text": () => assertStringIncludes("a", "b"),
  "assertArrayIncludes of a missing element": () => assertArrayIncludes([[1], [2]], [[3]]),
  "assertThrows of a function that returns": () => assertThrows(() => 1),
  "assertThrows of another class": () =>
    assertThrows(() => {
      throw new Error("this");
    }, TypeError),
  "assertThrows of another message": () =>
    assertThrows(
      () => {
        throw new Error("this");
      },
      Error,
      "that",
    ),
  "fail": () => fail("reason"),
  "unreachable": () => unreachable(),
};

for (const [name, refuse] of Object.entries(refused)) {
  Deno.test(`${name} throws an AssertionError`, () => {
    let thrown: unknown;
    try {
      refuse();
    } catch (error) {
      thrown = error;
    }
    if (!(thrown instanceof AssertionError)) throw new Error("No AssertionError was thrown");
  });
}

Deno.test("assertions accept what holds", () => {
  assert(1);
  assertFalse(0);
  assertEquals(new Map([["a", new Uint8Array(100)]]), new Map([["a", new Uint8Array(100)]]));
  assertNotEquals(1, 2);
  assertNotEquals(new Uint8Array(100), new Uint8Array(101));
  assertStrictEquals(NaN, NaN);
  assertNotStrictEquals({}, {});
  assertObjectMatch({ a: [1, { b: 2, c: 3 }], d: 4 }, { a: [1, { b: 2 }] });
  assertAlmostEquals(0.1 + 0.2, 0.3);
  assertGreater(2n, 1n);
  assertGreaterOrEqual(1, 1);
  assertLess(1, 2);
  assertLessOrEqual(1, 1);
  assertExists(0);
  assertInstanceOf([], Array);
  assertMatch("abc", /b/);
  assertNotMatch("abc", /d/);
  assertStringIncludes("abc", "b");
  assertArrayIncludes([[1], [2]], [[2]]);
});

Deno.test("assertThrows returns the error in its class", () => {
  class Coded extends Error {
    code = 5;
  }
  const error = assertThrows(
    () => {
      throw new Coded("the reason");
    },
    Coded,
    "reason",
  );
  assertEquals(error.code, 5);
});

Deno.test("assertRejects returns the error in its class", async () => {
  const error = await assertRejects(() => Promise.reject(new RangeError("far")), RangeError, "far");
  assertEquals(error.message, "far");
});

Deno.test("assertRejects refuses a promise that resolves", async () => {
  await assertRejects(() => assertRejects(() => Promise.resolve()), AssertionError);
});

Deno.test("assertRejects refuses a function that throws before it returns a promise", async () => {
  await assertRejects(
    () =>
      assertRejects(() => {
        throw new Error("early");
      }),
    AssertionError,
  );
});

Deno.test("getAvailablePort returns a port that can be listened on", () => {
  using listener = Deno.listen({ port: getAvailablePort() });
  assertGreater(listener.addr.port, 0);
});

Deno.test("TextLineStream cuts lines wherever the chunks are cut", async () => {
  const lines = ReadableStream.from(["on", "e\r", "\ntwo\n", "\nthree"])
    .pipeThrough(new TextLineStream());
  assertEquals(await Array.fromAsync(lines), ["one", "two", "", "three"]);
});

Deno.test("TextLineStream with allowCR takes a carriage return for an end of line", async () => {
  const lines = ReadableStream.from(["a\rb\r", "\nc\r"])
    .pipeThrough(new TextLineStream({ allowCR: true }));
  assertEquals(await Array.fromAsync(lines), ["a", "b", "c"]);
});

Deno.test("toText decodes a character that two chunks share", async () => {
  const [first, second] = [Uint8Array.of(0xc3), Uint8Array.of(0xa9)];
  assertEquals(await toText(ReadableStream.from([first, second])), "é");
});

Deno.test("toJson and toArrayBuffer read to the end", async () => {
  assertEquals(await toJson(ReadableStream.from(['{"a"', ":1}"])), { a: 1 });
  const bytes = await toArrayBuffer(ReadableStream.from([Uint8Array.of(1), Uint8Array.of(2)]));
  assertEquals(new Uint8Array(bytes), Uint8Array.of(1, 2));
});

Deno.test("mergeReadableStreams passes on every chunk of every stream", async () => {
  const merged = mergeReadableStreams(ReadableStream.from([1, 2]), ReadableStream.from([3]));
  assertEquals((await Array.fromAsync(merged)).sort(), [1, 2, 3]);
});
