import "../support/native.ts";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { ENTRY_POINTS, runHere } from "./command_lines.ts";

const CASES: readonly (readonly [string, string])[] = [
  ["serv", "Unknown command: serv: did you mean serve?\npostcopy: See: postcopy help\n"],
  ["help serv", "Unknown command: serv: did you mean serve?\n"],
  [
    "move",
    `Unknown command: move: use ${Object.keys(ENTRY_POINTS["main.ts"]!).join(", ")}\n`,
  ],
  ["toString", "Unknown command: toString: use serve"],
  ["--verison", "Unknown option: --verison: did you mean --version?\n"],
  ["-x", "Unknown option: -x: a command comes first\n"],
  ["serve vm.img --too x", "did you mean --to?\npostcopy: See: postcopy help serve\n"],
  ["workload", "No --to or --listen given: it decides what workload does\n"],
  [
    "workload --to tcp:h:1 --listen=tcp::0",
    "Both --to and --listen given: leave out one of them\n",
  ],
  [
    "serve vm.img --to tcp:h:1 --tls-hostname h",
    "Nothing would be encrypted: --tls-hostname without --tls-creds",
  ],
  [
    "workload --to tcp:h:1 --tls-username=me",
    "Nothing would be encrypted: --tls-username without --tls-creds",
  ],
  ["serve vm.img --to tcp:h:1 --tls-creds=", "No TLS credentials named: --tls-creds is empty"],
  ["workload --listen nowhere", "Unknown address: nowhere"],
  ["workload --to nowhere", "Unknown address: nowhere"],
];

for (const [args, message] of CASES) {
  Deno.test(`postcopy ${args} is wrong usage, and says so`, async () => {
    const { code, output, errors } = await runHere("main.ts", ...args.split(" "));
    assertEquals([code, output], [2, ""]);
    assert(errors.startsWith("postcopy: "), errors);
    assertStringIncludes(errors, message);
  });
}

Deno.test("serve tells of bad credentials before it looks at its image, whose index may take long", async () => {
  const args = ["--to", "tcp:127.0.0.1:1", "--tls-creds", "/nowhere/credentials"];
  const { code, output, errors } = await runHere("main.ts", "serve", "/nowhere/image", ...args);
  assertEquals([code, output], [1, ""]);
  assert(errors.startsWith("postcopy: No such directory or file: /nowhere/credentials: "), errors);
});

Deno.test("an entry point loads nothing of its commands before one is called", async () => {
  for (const entryPoint of Object.keys(ENTRY_POINTS)) {
    const { stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", entryPoint],
      cwd: new URL("../../", import.meta.url),
    }).output();
    const { modules, roots } = JSON.parse(new TextDecoder().decode(stdout)) as Graph;
    const byName = new Map(modules.map((module) => [module.specifier, module]));
    const loaded = new Set<string>();
    const visit = (specifier: string): void => {
      if (loaded.has(specifier)) return;
      loaded.add(specifier);
      for (const { code, isDynamic } of byName.get(specifier)?.dependencies ?? []) {
        if (code !== undefined && isDynamic !== true) visit(code.specifier);
      }
    };
    visit(roots[0]!);
    assert(loaded.size > 5);
    assert(byName.size > 100); // the commands are known to be there
    assertEquals([...loaded].filter((name) => /\/(ffi|workload)\/|_command\.ts$/.test(name)), []);
  }
});

/** What `deno info --json` prints. */
interface Graph {
  readonly roots: readonly string[];
  readonly modules: readonly {
    readonly specifier: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier: string };
      readonly isDynamic?: boolean;
    }[];
  }[];
}
