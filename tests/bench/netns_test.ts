import { assert, assertEquals, assertThrows } from "@std/assert";
import { NetworkNamespaceError, ShapedLink, shapeFor } from "../../bench/netns.ts";
import { commandPath } from "../../tools/find_command.ts";
import {
  firstOf,
  needsCommand,
  needsRoot,
  type SkipReason,
  skipReason,
  testUnless,
} from "../support/skip.ts";

function command(...words: string[]): Deno.CommandOutput {
  return new Deno.Command(commandPath(words[0]!), { args: words.slice(1) }).outputSync();
}

function namespacesOf(pid: number): string[] {
  const names = new TextDecoder().decode(command("ip", "netns", "list").stdout).split("\n");
  return names.filter((name) => name.startsWith(`postcopy-${pid}-`));
}

function needsShaping(): SkipReason | undefined {
  const needed = firstOf(needsRoot(), needsCommand("ip", "iproute2"));
  if (needed !== undefined) return needed;
  try {
    ShapedLink.create(1e9).close();
    return undefined;
  } catch (error) {
    if (!(error instanceof NetworkNamespaceError)) throw error;
    return skipReason("no support", error.message);
  }
}

const skip = needsShaping();

Deno.test("shapeFor lets whole segmentation-offload packets through at every rate", () => {
  for (const rate of [1e8, 1e9, 1e10]) {
    const { burst, limit } = shapeFor(rate);
    assert(burst >= 2 * 65536);
    assert(limit >= 4 * burst);
  }
});

Deno.test("shapeFor holds no more than a quarter of a millisecond back at 10 Gbit/s", () => {
  assertEquals(shapeFor(10e9).burst, 312_500);
});

testUnless(skip, "ShapedLink shapes both directions", () => {
  using link = ShapedLink.create(1e9);
  for (const end of [link.source, link.destination]) {
    const { stdout } = command(...end.prefix, commandPath("tc"), "qdisc", "show", "dev", "veth0");
    const shown = new TextDecoder().decode(stdout);
    assert(/tbf .* rate 1Gbit burst 131\d{3}b/.test(shown), shown);
  }
});

testUnless(skip, "ShapedLink has a route from one end to the other", () => {
  using link = ShapedLink.create(1e9);
  const { stdout } = command(
    ...link.source.prefix,
    commandPath("ip"),
    "route",
    "get",
    link.destination.host,
  );
  assert(new TextDecoder().decode(stdout).includes("dev veth0"));
});

testUnless(skip, "ShapedLink is gone after it is closed twice", () => {
  const link = ShapedLink.create(1e9);
  assertEquals(namespacesOf(Deno.pid).length, 2);
  link.close();
  link.close();
  assertEquals(namespacesOf(Deno.pid), []);
});

testUnless(skip, "ShapedLink leaves nothing behind when the kernel refuses the rate", () => {
  assertThrows(() => ShapedLink.create(-1), NetworkNamespaceError);
  assertEquals(namespacesOf(Deno.pid), []);
});

const MAKE_LINK = `
  import { ShapedLink } from "${new URL("../../bench/netns.ts", import.meta.url)}";
  ShapedLink.create(1e9);
  console.log("made");
`;

for (const ending of ["SIGINT", "SIGTERM", "exit", "throw"] as const) {
  testUnless(skip, `ShapedLink is removed when its process ends by ${ending}`, async () => {
    const end = ending === "exit"
      ? "Deno.exit(3)"
      : ending === "throw"
      ? "throw new Error('out of luck')"
      : "await new Promise((resolve) => setTimeout(resolve, 60_000))";
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-config", MAKE_LINK + end],
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const reader = child.stdout.getReader();
    await reader.read(); // the link is there
    if (ending === "SIGINT" || ending === "SIGTERM") child.kill(ending);
    await reader.cancel();
    const { success } = await child.status;
    assert(!success);
    assertEquals(namespacesOf(child.pid), []);
  });
}

testUnless(skip, "ShapedLink removes what a killed process left", async () => {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--no-config", MAKE_LINK + "setInterval(() => {}, 1000)"],
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const reader = child.stdout.getReader();
  await reader.read();
  child.kill("SIGKILL");
  await reader.cancel();
  await child.status;
  assertEquals(namespacesOf(child.pid).length, 2);
  ShapedLink.create(1e9).close();
  assertEquals(namespacesOf(child.pid), []);
});
