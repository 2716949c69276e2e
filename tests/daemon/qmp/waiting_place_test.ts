/** Where a QEMU is told to listen, and by what it is reached. */
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { MonitorError } from "../../../daemon/qmp/monitor_error.ts";
import { addressHere, pathHere } from "../../../daemon/qmp/monitor_path.ts";
import { PrivateSockets } from "../../../daemon/qmp/private_sockets.ts";
import { WaitingPlace } from "../../../daemon/qmp/waiting_place.ts";
import { formatSocketAddress, parseSocketAddress } from "../../../ffi/socket_address.ts";

const LOCAL = parseSocketAddress("unix:/run/vm.qmp");
const REMOTE = parseSocketAddress("tcp:host2:4445");

for (
  const [listen, to, qmp, uri, reached] of [
    ["tcp:0.0.0.0:4444", undefined, LOCAL, "tcp:0.0.0.0:4444", "tcp:127.0.0.1:4444"],
    ["tcp:0.0.0.0:4444", undefined, REMOTE, "tcp:0.0.0.0:4444", "tcp:host2:4444"],
    ["tcp:[::]:4444", undefined, REMOTE, "tcp:[::]:4444", "tcp:host2:4444"],
    ["tcp:10.0.0.2:4444", undefined, REMOTE, "tcp:10.0.0.2:4444", "tcp:10.0.0.2:4444"],
    ["tcp:10.0.0.2:4444", "tcp:vpn:44", REMOTE, "tcp:10.0.0.2:4444", "tcp:vpn:44"],
    ["unix:/in/there", "unix:/out/here", LOCAL, "unix:/in/there", "unix:/out/here"],
  ] as const
) {
  Deno.test(`WaitingPlace reaches a QEMU that listens at ${listen} by ${reached}`, async () => {
    const said = {
      qmp,
      listen: parseSocketAddress(listen),
      to: to === undefined ? undefined : parseSocketAddress(to),
    };
    using place = await WaitingPlace.find(said, undefined);
    for (const { uri: told, to: found } of [place.first(), place.again()]) {
      assertEquals([told, formatSocketAddress(found)], [uri, reached]);
    }
  });
}

Deno.test("WaitingPlace names a port again where QEMU chose the first, for it cannot be asked", async () => {
  const said = { qmp: LOCAL, listen: parseSocketAddress("tcp:127.0.0.1:0"), to: undefined };
  using place = await WaitingPlace.find(said, undefined);
  assertEquals(place.first().uri, "tcp:127.0.0.1:0");
  const ports = new Set<string>();
  for (let time = 0; time < 50; time++) {
    const { uri, to } = place.again();
    assertEquals(uri, formatSocketAddress(to));
    const port = Number(/^tcp:127\.0\.0\.1:(\d+)$/.exec(uri)![1]);
    assert(port >= 49_152 && port <= 65_535, uri);
    ports.add(uri);
  }
  assert(ports.size > 1);
});

Deno.test("WaitingPlace names another port where QEMU holds the one that was said, unless it is mapped", async () => {
  const listen = parseSocketAddress("tcp:0.0.0.0:4444");
  using free = await WaitingPlace.find({ qmp: REMOTE, listen, to: undefined }, undefined);
  assertEquals(free.again(false).uri, "tcp:0.0.0.0:4444");
  const { uri, to } = free.again(true);
  const [, port] = /^tcp:0\.0\.0\.0:(\d+)$/.exec(uri)!;
  assert(Number(port) >= 49_152, uri);
  assertEquals(formatSocketAddress(to), `tcp:host2:${port}`);
  const mapped = { qmp: REMOTE, listen, to: parseSocketAddress("tcp:vpn:44") };
  using fixed = await WaitingPlace.find(mapped, undefined);
  assertEquals(fixed.again(true), { uri: "tcp:0.0.0.0:4444", to: mapped.to });
});

/** A directory in which a monitor's socket could be. */
async function withMonitor(
  act: (path: string, directory: string) => void | Promise<void>,
): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "postcopy-test-" });
  try {
    await Deno.writeTextFile(`${directory}/qmp`, "");
    await act(`${directory}/qmp`, directory);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("WaitingPlace makes a new private socket each time, and removes them", () =>
  withMonitor(async (ours, directory) => {
    const said = { qmp: LOCAL, listen: undefined, to: undefined };
    const place = await WaitingPlace.find(said, { ours, theirs: "/inside/qmp" });
    const places = [place.first(), place.again(), place.again()];
    for (const { uri, to } of places) {
      assert(to.transport === "unix");
      assertEquals(uri, `unix:/inside${to.path.slice(directory.length)}`);
      const { mode } = await Deno.stat(to.path.slice(0, to.path.lastIndexOf("/")));
      assertEquals(mode! & 0o777, 0o700);
    }
    assertEquals(new Set(places.map(({ uri }) => uri)).size, 3);
    place[Symbol.dispose]();
    place[Symbol.dispose]();
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["qmp"]);
  }));

Deno.test("WaitingPlace takes over a private socket at which QEMU listens already", () =>
  withMonitor(async (ours, directory) => {
    const monitor = { ours, theirs: "/qmp" };
    const first = await WaitingPlace.find(
      { qmp: LOCAL, listen: undefined, to: undefined },
      monitor,
    );
    const { uri, to } = first.first();
    first.keep();
    first[Symbol.dispose]();
    const said = { qmp: LOCAL, listen: undefined, to: undefined };
    const second = WaitingPlace.at(parseSocketAddress(uri), said, monitor);
    assertEquals(second.first(), { uri, to });
    second[Symbol.dispose]();
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["qmp"]);
  }));

Deno.test("WaitingPlace removes no directory that is somebody else's", () =>
  withMonitor((ours, directory) => {
    const monitor = { ours, theirs: ours };
    const said = { qmp: LOCAL, listen: undefined, to: undefined };
    const address = parseSocketAddress(`unix:${directory}/guest`);
    const place = WaitingPlace.at(address, said, monitor);
    assertEquals(place.first(), { uri: formatSocketAddress(address), to: address });
    place[Symbol.dispose]();
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["qmp"]);
  }));

Deno.test("PrivateSockets says where none can be made", async () => {
  const directory = `${await Deno.makeTempDir()}/${"d".repeat(100)}`;
  await Deno.mkdir(directory);
  await Deno.writeTextFile(`${directory}/qmp`, "");
  try {
    const failing = PrivateSockets.make(`${directory}/qmp`, `${directory}/qmp`);
    const error = await assertRejects(() => failing, MonitorError);
    assertMatch(error.message, /its path is too long: .*--listen-uri/);
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["qmp"]);
  } finally {
    await Deno.remove(directory.slice(0, directory.lastIndexOf("/")), { recursive: true });
  }
});

Deno.test("pathHere finds QEMU's files where its root is another directory", () => {
  const changed = { ours: "/srv/root/run/qmp", theirs: "/run/qmp" };
  assertEquals(pathHere("/tmp/guest", changed), "/srv/root/tmp/guest");
  const same = { ours: "/run/qmp", theirs: "/run/qmp" };
  assertEquals(pathHere("/tmp/guest", same), "/tmp/guest");
  const mounted = { ours: "/vol/a/qmp", theirs: "/run/b/qmp" }; // a bind mount tells of nothing else
  assertEquals(pathHere("/tmp/guest", mounted), "/tmp/guest");
  const tcp = parseSocketAddress("tcp:127.0.0.1:1");
  assertEquals(addressHere(tcp, changed), tcp);
});
