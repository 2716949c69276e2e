import { assertEquals, assertThrows } from "@std/assert";
import { AllowList } from "../../client/connecting/allow_list.ts";

Deno.test("AllowList allows hosts of its networks alone", () => {
  const list = new AllowList(["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", "::1"]);
  const hosts = {
    "192.0.2.0": true,
    "192.0.2.255": true,
    "192.0.3.0": false,
    "198.51.100.7": true,
    "198.51.100.8": false,
    "2001:db8:ffff::1": true,
    "2001:db9::": false,
    "::1": true,
    "::2": false,
    "127.0.0.1": false,
    "::ffff:192.0.2.9": true,
    "": true, // a unix socket
    nonsense: false,
  };
  assertEquals(
    Object.fromEntries(Object.keys(hosts).map((host) => [host, list.allows(host)])),
    hosts,
  );
});

Deno.test("AllowList takes all addresses of one kind", () => {
  const list = new AllowList(["0.0.0.0/0"]);
  assertEquals([list.allows("255.1.2.3"), list.allows("2001:db8::1")], [true, false]);
});

for (
  const network of [
    ...["", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/", "192.0.2.0/8/8", "192.0.2.256", "host"],
    ...["192.0.2.7/24", "2001:db8::/129", "2001:db8::1/32", "1.2.3", "*"],
  ]
) {
  Deno.test(`AllowList refuses the network ${JSON.stringify(network)} by name`, () => {
    const { message } = assertThrows(() => new AllowList([network]), RangeError);
    assertEquals(message.includes(network), true, message);
  });
}

Deno.test("AllowList refuses to allow nobody", () => {
  assertThrows(() => new AllowList([]), RangeError, "Nobody");
});
