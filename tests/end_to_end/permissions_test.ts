import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { within } from "../support/deadline.ts";
import { WorkloadProcess } from "../support/processes.ts";

/** The README's smallest sets of permissions. */
const USE = ["--allow-ffi", "--allow-read"];

interface Ended {
  readonly code: number;
  readonly output: string;
  readonly errors: string;
}

async function run(permissions: readonly string[], args: readonly string[]): Promise<Ended> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-check", ...permissions, ...args],
    cwd: new URL("../../", import.meta.url),
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  return { code, output: decoder.decode(stdout), errors: decoder.decode(stderr) };
}

async function withImage(use: (path: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    const path = `${directory}/guest.img`;
    const args = ["client/main.ts", "workload-image", path, "--size", "1M"];
    const { code, errors } = await run([`--allow-write=${directory}`], args);
    assertEquals(code, 0, errors);
    await use(path);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("inspect needs no more than the smallest permissions", () =>
  withImage(async (path) => {
    const { code, output, errors } = await run(USE, ["server/main.ts", "inspect", path, "--json"]);
    assertEquals(code, 0, errors);
    assertEquals(JSON.parse(output).blocks[0].usedLength, 1 << 20);
  }));

Deno.test("serve names the flag that is missing to look up a host", () =>
  withImage(async (path) => {
    const args = ["server/main.ts", "serve", path, "--to", "tcp:localhost:1"];
    const { code, errors } = await run(USE, args);
    assertEquals(code, 2);
    assertStringIncludes(errors, "--allow-net");
  }));

Deno.test("serve names the flag that is missing to call libc", () =>
  withImage(async (path) => {
    const args = ["server/main.ts", "serve", path, "--to", "tcp:127.0.0.1:1"];
    const { code, errors } = await run(["--allow-read"], args);
    assertEquals(code, 2);
    assertMatch(errors, /^postcopy: .*--allow-ffi/m);
  }));

Deno.test("serve that may not write says which mark it cannot make, and serves", () =>
  withImage(async (path) => {
    await using destination = new WorkloadProcess("tcp:127.0.0.1:0", ["--until-touched"]);
    const to = await destination.address();
    const { code, errors } = await run(USE, ["server/main.ts", "serve", path, "--to", to]);
    assertEquals(code, 0, errors);
    const directory = path.slice(0, path.lastIndexOf("/") + 1);
    assertMatch(errors, /^Hand-over is not marked beside the image: no file can be made in /m);
    assertStringIncludes(errors, `--allow-write=${directory}:`);
    await within("the workload to end", destination.ended);
    assertEquals(destination.last("result")?.check.wrongPages, 0);
  }));

Deno.test("workload ends with 130 under the smallest permissions when it is interrupted", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--no-prompt", "--no-check", ...USE],
      ...["client/main.ts", "workload", "--listen", "tcp:127.0.0.1:0", "--json"],
    ],
    cwd: new URL("../../", import.meta.url),
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const reader = child.stdout.getReader();
  const { value } = await reader.read(); // it listens
  assert(value !== undefined);
  child.kill("SIGINT");
  while (!(await reader.read()).done);
  const errors = await new Response(child.stderr).text();
  assertEquals((await child.status).code, 130, errors);
  assertStringIncludes(errors, "postcopy: Interrupted");
});

Deno.test("a command prints the usage when it is asked for behind its name", async () => {
  for (const args of [["server/main.ts", "serve"], ["client/main.ts", "workload"]]) {
    const { code, output } = await run([], [...args, "--help"]);
    assertEquals(code, 0);
    assertStringIncludes(output, args[1]!);
  }
});
