import { assert, assertEquals } from "@std/assert";
import { PeerQemu, peerTests } from "../../tools/peers.ts";

Deno.test("peerTests lists tests that start a QEMU, a CRIU or a systemd and tests that read recordings, and no others", async () => {
  const files = await peerTests();
  assert(files.includes("tests/demo_qemu_test.ts"));
  assert(files.includes("tests/lazy/criu/criu_test.ts"));
  assert(files.includes("tests/systemd/service_test.ts"));
  assert(files.some((file) => file.endsWith("/recording_test.ts")));
  assertEquals(files.filter((file) => file.startsWith("tests/tools/")), []);
});

/** Makes a tree of this name in a temporary directory, and gives its path. */
async function withTree(name: string, act: (tree: string) => void): Promise<void> {
  const directory = await Deno.makeTempDir({ prefix: "postcopy-test-" });
  try {
    await Deno.mkdir(`${directory}/${name}/tmp`, { recursive: true });
    act(`${directory}/${name}`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

function rootOf({ command }: PeerQemu): string {
  const [chroot, root, program, ...others] = command.split(" ");
  assert(chroot!.endsWith("chroot"));
  assertEquals([program, others], ["qemu-system-x86_64", []]);
  return root!;
}

Deno.test("PeerQemu starts QEMU in the tree", () =>
  withTree("trixie", (tree) => {
    using qemu = new PeerQemu(tree);
    assertEquals(rootOf(qemu), tree);
  }));

for (const name of ["a name that is in several words", "deep/".repeat(20) + "trixie"]) {
  Deno.test(`PeerQemu has another name for a tree in: ${name}`, () =>
    withTree(name, (tree) => {
      const qemu = new PeerQemu(tree);
      const root = rootOf(qemu);
      try {
        assertEquals(Deno.realPathSync(root), tree);
        // Sockets in the tree can be listened at from outside by this name.
        const path = `${root}/tmp/postcopy-qemu-0123456789abcdef`;
        Deno.mkdirSync(path);
        Deno.listen({ transport: "unix", path: `${path}/serial` }).close();
      } finally {
        qemu[Symbol.dispose]();
      }
      assertEquals(Deno.readDirSync(`${tree}/tmp`).toArray().length, 1);
      try {
        Deno.lstatSync(root);
        throw new Error(`Still there: ${root}`);
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    }));
}
