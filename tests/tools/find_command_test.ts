import { assertEquals } from "@std/assert";

const MODULE = new URL("../../tools/find_command.ts", import.meta.url);

/** What the module finds in a process with this PATH, which it reads when it is loaded. */
async function found(path: string, ...commands: string[]): Promise<(string | null)[]> {
  const code = `import { findCommand } from "${MODULE}";
    console.log(JSON.stringify(${
    JSON.stringify(commands)
  }.map((each) => findCommand(each) ?? null)));`;
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-config", code],
    env: { PATH: path },
  }).output();
  return JSON.parse(new TextDecoder().decode(stdout));
}

Deno.test("findCommand finds commands in the directories of PATH, the first first", async () => {
  const directory = await Deno.makeTempDir({ prefix: "postcopy-test-" });
  try {
    await Deno.writeTextFile(`${directory}/ls`, "");
    assertEquals(await found(`/no/such:${directory}:/bin`, "ls", "cat"), [
      `${directory}/ls`,
      "/bin/cat",
    ]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("findCommand finds the administrator's commands, which PATH may leave out", async () => {
  assertEquals(await found("/bin", "chroot"), ["/usr/sbin/chroot"]);
});

Deno.test("findCommand takes a path as it is", async () => {
  assertEquals(await found("", "/bin/sh", "/bin/no-such-command"), ["/bin/sh", null]);
});

Deno.test("findCommand finds no command that nobody has", async () => {
  assertEquals(await found("/bin", "no-such-command-anywhere", "."), [null, null]);
});
