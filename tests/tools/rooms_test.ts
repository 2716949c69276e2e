import { assert, assertEquals } from "@std/assert";
import { circles, readImports, sourceFiles } from "./import_graph.ts";

/** What a room's files may import beside the room itself. */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  ffi: [],
  migration: [],
  // Rings and workers' waits are made of shared memory and system calls.
  "migration/threads": ["migration", "ffi"],
  channel: ["migration", "ffi"],
  pages: ["migration", "ffi"],
  image: ["pages", "migration", "ffi"],
  workload: ["image", "migration", "ffi"],
  server: ["workload", "image", "pages", "channel", "migration", "ffi"],
  client: ["workload", "image", "pages", "channel", "migration", "ffi"],
  daemon: ["server", "client", "image", "channel", "migration", "ffi"],
  // What lies beside the rooms: the module and its like.
  "": ["daemon", "server", "client", "image", "migration", "ffi"],
  qemu: ["migration", "ffi"],
  criu: ["qemu"],
  tools: ["qemu", "ffi"],
  demo: ["qemu", "workload", "server", "client", "migration", "ffi"],
  bench: [
    "",
    "tools",
    "qemu",
    "criu",
    "workload",
    "daemon",
    "server",
    "client",
    "image",
    "pages",
    "channel",
    "migration",
    "ffi",
  ],
  tests: [
    ...["bench", "demo", "tools", "qemu", "criu", "workload", "daemon", "server", "client"],
    ...["image", "pages", "channel", "migration", "ffi", ""],
  ],
};

/** Two files of each circle that is good as it is, being of types only; it does not leave their folder. */
const CIRCLES = [
  ["migration/address_space/memory_core.ts", "migration/address_space/memory_region.ts"],
  ["migration/address_space/ram_addresses.ts", "migration/address_space/ram_table.ts"],
  ["migration/device/description.ts", "migration/device/fields.ts"],
  ["workload/machine/pci_bus.ts", "workload/machine/pci_function.ts"],
  ["workload/machine/firmware.ts", "workload/machine/machine.ts"],
];

/** What moves a socket's bytes: of ffi/socket_calls.ts, and of ffi/gather.ts. */
const SOCKET_CALLS = ["receive", "receiveInto", "sendFrom"];
const GATHER_SEND = /\bgather\.send\(/i;
/** Rooms whose files may make these calls: floors are measured, and peers played, without a channel. */
const SOCKET_ROOMS = ["ffi", "channel", "bench", "tests"];

const root = new URL("../../", import.meta.url);
const files = await sourceFiles(root, Object.keys(ROOMS));
const imports = await readImports(root, files);

/** The longest name in {@linkcode ROOMS} that a file's path begins with. */
function roomOf(file: string): string {
  const folders = file.split("/").slice(0, -1);
  while (folders.length > 0 && ROOMS[folders.join("/")] === undefined) folders.pop();
  return folders.join("/");
}

/** The room as a whole, of which {@linkcode roomOf} may be a part. */
function wholeRoom(room: string): string {
  return room.split("/")[0]!;
}

Deno.test("every folder with a module is a room that the table of rooms names", async () => {
  const known = new Set(Object.keys(ROOMS));
  const unknown: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(root)) {
    if (!isDirectory || known.has(name) || name.startsWith(".") || name === "node_modules") {
      continue;
    }
    if ((await sourceFiles(new URL(`${name}/`, root), [])).length > 0) unknown.push(name);
  }
  assertEquals(unknown, []);
});

Deno.test("a room imports only itself and what the table of rooms allows it", () => {
  const inTree = imports.filter(({ to }) => to.endsWith(".ts"));
  assert(inTree.length > files.length);
  const refused = inTree.filter(({ from, to }) => {
    const room = roomOf(from);
    const target = wholeRoom(roomOf(to));
    return target !== wholeRoom(room) && !ROOMS[room]!.includes(target);
  });
  assertEquals(refused.map(({ from, to }) => `${from} imports ${to}`), []);
});

Deno.test("imports lead in no circle but those that are named", () => {
  const found = circles(imports.filter(({ kind }) => kind !== "worker"));
  const named = found.filter((circle) =>
    CIRCLES.some(([one, other]) => {
      const folder = one!.slice(0, one!.lastIndexOf("/") + 1);
      return circle.includes(one!) && circle.includes(other!) &&
        circle.every((file) => file.startsWith(folder));
    })
  );
  assertEquals(found.filter((circle) => !named.includes(circle)), []);
  assertEquals(named.length, CIRCLES.length, "A named circle is gone: take it off the list");
});

Deno.test("imports lead in no circle at run time", () => {
  assertEquals(circles(imports.filter(({ kind }) => kind === "value")), []);
});

Deno.test("only a channel moves the bytes of a socket", async () => {
  const outside = files.filter((file) => !SOCKET_ROOMS.includes(wholeRoom(roomOf(file))));
  const refused: string[] = imports
    .filter(({ from, to }) => outside.includes(from) && to === "ffi/socket_calls.ts")
    .flatMap(({ from, names }) =>
      names.filter((name) => SOCKET_CALLS.includes(name)).map((name) => `${from}: ${name}`)
    );
  for (const file of outside) {
    const [call] = GATHER_SEND.exec(await Deno.readTextFile(new URL(file, root))) ?? [];
    if (call !== undefined) refused.push(`${file}: ${call}`);
  }
  assertEquals(refused, []);
});
