import { assertAlmostEquals, assertEquals } from "@std/assert";
import { bytesSent, linkUse } from "../../bench/methods/link_use.ts";

const RATE = 8e6; // a byte a microsecond

Deno.test("linkUse leaves out the time before and after the pages", () => {
  const samples = [
    { at: 0, bytes: 0 },
    { at: 500, bytes: 300 }, // handshakes
    { at: 1000, bytes: 100_000 },
    { at: 1500, bytes: 600_000 },
    { at: 2000, bytes: 1_100_000 },
    { at: 2500, bytes: 1_100_200 }, // the state
  ];
  const { share, flowing } = linkUse(samples, 1, RATE);
  assertEquals(flowing, 1000);
  assertAlmostEquals(share, 1);
});

Deno.test("linkUse counts what headers add on the wire", () => {
  const samples = [
    { at: 0, bytes: 100_000 },
    { at: 1000, bytes: 600_000 },
  ];
  assertAlmostEquals(linkUse(samples, 1.05, RATE).share, 0.525);
});

Deno.test("linkUse is none when nothing flowed", () => {
  assertEquals(linkUse([], 1, RATE), { share: 0, flowing: 0 });
  assertEquals(linkUse([{ at: 0, bytes: 0 }, { at: 9, bytes: 100 }], 1, RATE).share, 0);
});

Deno.test("bytesSent adds up all devices but loopback", () => {
  const text = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     700       7    0    0    0     0          0         0      700       7    0    0    0     0       0          0
 veth0: 1000 2 0 0 0 0 0 0 12345 67 0 0 0 0 0 0
  eth1:1000 2 0 0 0 0 0 0 5 67 0 0 0 0 0 0
`;
  assertEquals(bytesSent(text), 12350);
});

Deno.test("bytesSent reads what this kernel writes", () => {
  assertEquals(Number.isFinite(bytesSent(Deno.readTextFileSync("/proc/self/net/dev"))), true);
});
