import "../support/native.ts";
import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import {
  AddressFamily,
  formatSocketAddress,
  parseSocketAddress,
  resolveSocketAddresses,
  type SocketAddress,
  SocketAddressError,
} from "../../ffi/socket_address.ts";

const ADDRESSES: Record<string, SocketAddress> = {
  "tcp:127.0.0.1:4444": { transport: "tcp", host: "127.0.0.1", port: 4444 },
  "tcp:host.example:0": { transport: "tcp", host: "host.example", port: 0 },
  "tcp:[::1]:65535": { transport: "tcp", host: "::1", port: 65535 },
  "tcp:[fe80::1%eth0]:1": { transport: "tcp", host: "fe80::1%eth0", port: 1 },
  "unix:/run/migration": { transport: "unix", path: "/run/migration" },
  "unix:a:b": { transport: "unix", path: "a:b" },
};
for (const [text, address] of Object.entries(ADDRESSES)) {
  Deno.test(`parseSocketAddress reads what formatSocketAddress writes: ${text}`, () => {
    assertEquals(parseSocketAddress(text), address);
    assertEquals(formatSocketAddress(address), text);
  });
}

Deno.test("parseSocketAddress takes an empty host for any, as QEMU does", () => {
  assertEquals(parseSocketAddress("tcp::4444"), { transport: "tcp", host: "0.0.0.0", port: 4444 });
});

for (
  const [text, message] of [
    ["127.0.0.1:4444", "Unknown address: 127.0.0.1:4444: write tcp:HOST:PORT or unix:PATH"],
    ["tcp:host", "Unknown address: tcp:host: write"],
    ["tcp:host:port", "Unknown address: tcp:host:port: write"],
    ["tcp:::1:4444", "Unknown address: tcp:::1:4444: write"],
    ["tcp:host:65536", "Port above 65535: tcp:host:65536"],
    ["unix:", "Unknown address: unix:: write"],
    [`unix:/${"x".repeat(107)}`, "Socket path longer than 107 bytes: /xxx"],
  ] as const
) {
  Deno.test(`parseSocketAddress refuses ${text.slice(0, 30)}`, () => {
    const error = assertThrows(() => parseSocketAddress(text), SocketAddressError, message);
    assertEquals(error.code, "BAD_ADDRESS");
  });
}

const resolved = async (text: string) => {
  const [{ family, bytes } = { family: 0, bytes: new Uint8Array() }] = await resolveSocketAddresses(
    parseSocketAddress(text),
  );
  return { family, bytes: bytes.toHex() };
};

Deno.test("resolveSocketAddresses lays an IPv4 address out as sockaddr_in", async () => {
  assertEquals(await resolved("tcp:192.0.2.17:4444"), {
    family: AddressFamily.INET,
    bytes: "0200115cc00002110000000000000000",
  });
});

for (
  const [host, groups] of [
    ["::1", "00000000000000000000000000000001"],
    ["::", "00000000000000000000000000000000"],
    ["2001:db8::8:800:200c:417a", "20010db80000000000080800200c417a"],
    ["1:2:3:4:5:6:7:8", "00010002000300040005000600070008"],
    ["::ffff:192.0.2.1", "00000000000000000000ffffc0000201"],
    ["fe80::", "fe800000000000000000000000000000"],
  ] as const
) {
  Deno.test(`resolveSocketAddresses lays ${host} out as sockaddr_in6`, async () => {
    assertEquals(await resolved(`tcp:[${host}]:258`), {
      family: AddressFamily.INET6,
      bytes: `0a00010200000000${groups}00000000`,
    });
  });
}

Deno.test("resolveSocketAddresses lays a path out as sockaddr_un, ended by a zero", async () => {
  assertEquals(await resolved("unix:/a"), { family: AddressFamily.UNIX, bytes: "01002f6100" });
});

Deno.test("resolveSocketAddresses names a host that nobody knows", async () => {
  const address = parseSocketAddress("tcp:nosuch.invalid:1");
  const error = await assertRejects(() => resolveSocketAddresses(address), SocketAddressError);
  assertEquals([error.code, error.message], [
    "UNKNOWN_HOST",
    "Unknown host: nosuch.invalid: check the name",
  ]);
});

Deno.test("resolveSocketAddresses takes the scope of an IPv6 address by name and by number", async () => {
  const loopback = "0a00010200000000fe800000000000000000000000000001";
  assertEquals(await resolved("tcp:[fe80::1%lo]:258"), {
    family: AddressFamily.INET6,
    bytes: `${loopback}01000000`, // the loopback is always number 1
  });
  assertEquals((await resolved("tcp:[fe80::1%772]:258")).bytes, `${loopback}04030000`);
});

Deno.test("resolveSocketAddresses names an interface that is not there", async () => {
  const address = parseSocketAddress("tcp:[fe80::1%nosuch0]:1");
  const error = await assertRejects(() => resolveSocketAddresses(address), SocketAddressError);
  assertEquals(
    error.message,
    "Unknown network interface: nosuch0: of fe80::1%nosuch0: `ip link` lists those of this host",
  );
});
