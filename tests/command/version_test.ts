import { assertEquals, assertStringIncludes } from "@std/assert";
import { denoProblem, MINIMAL_DENO, VERSION } from "../../migration/command/version.ts";
import { ENTRY_POINTS, run } from "./command_lines.ts";

Deno.test("VERSION is that of deno.json", async () => {
  const text = await Deno.readTextFile(new URL("../../deno.json", import.meta.url));
  assertEquals(VERSION, JSON.parse(text).version);
});

for (const entryPoint of Object.keys(ENTRY_POINTS)) {
  Deno.test(`${entryPoint} prints the version for --version and version`, async () => {
    const expected = { code: 0, output: `postcopy ${VERSION}\n`, errors: "" };
    assertEquals(await run(entryPoint, "--version"), expected);
    assertEquals(await run(entryPoint, "version"), expected);
  });
}

Deno.test("denoProblem takes the minimal Deno, later ones and this one", () => {
  for (const version of [MINIMAL_DENO, "2.8.1", "2.10.0", "3.0.0", "2.9.0-rc.1+1a2b3c4"]) {
    assertEquals(denoProblem(version), undefined, version);
  }
  assertEquals(denoProblem(Deno.version.deno), undefined);
});

Deno.test("denoProblem names an older Deno and says what to do", () => {
  for (const version of ["2.7.14", "1.46.3", "2.0.0+abc"]) {
    const problem = denoProblem(version) ?? "";
    assertStringIncludes(
      problem,
      `Deno is too old: ${version}: ${MINIMAL_DENO} or later is needed`,
    );
  }
});
