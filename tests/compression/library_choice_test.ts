import { assert, assertEquals, assertThrows } from "@std/assert";
import { compressionLibrary, openCompressor } from "../../ffi/compression/codec.ts";
import { type Candidate, chooseLibrary } from "../../ffi/compression/library_choice.ts";
import { CompressionError } from "../../ffi/compression/page_codec.ts";
import { testUnless } from "../support/skip.ts";
import { LIBRARIES, librariesOf } from "./libraries.ts";

function nativeLibrary(library: string): Candidate {
  return {
    library,
    used: `${library} is used`,
    remedy: `apt-get install ${library}`,
    open: () => Deno.dlopen(library, {}).close(),
  };
}

const THERE = nativeLibrary("libc.so.6");
const NOWHERE = nativeLibrary("libnowhere.so.0");

Deno.test("chooseLibrary takes the first that opens and has nothing to say about it", () => {
  assertEquals(chooseLibrary("zlib", [THERE, NOWHERE]), { candidate: THERE });
});

Deno.test("chooseLibrary says which it takes instead of one that is not there", () => {
  const { candidate, instead } = chooseLibrary("zlib", [NOWHERE, THERE]);
  assertEquals(candidate, THERE);
  assertEquals(instead, "libnowhere.so.0 was not found: libc.so.6 is used");
});

Deno.test("chooseLibrary says in one line why a library that is there cannot be opened", () => {
  const broken = { ...THERE, open: () => Deno.dlopen(import.meta.filename!, {}).close() };
  const { instead } = chooseLibrary("zlib", [broken, THERE]);
  assert(/^libc\.so\.6 cannot be opened \(.*\): libc\.so\.6 is used$/.test(instead!), instead);
});

Deno.test("chooseLibrary says what to install when there is none", () => {
  const other = nativeLibrary("libelsewhere.so.0");
  assertThrows(
    () => chooseLibrary("zlib", [NOWHERE, other]),
    CompressionError,
    "No library for zlib: libnowhere.so.0 was not found, libelsewhere.so.0 was not found: " +
      "apt-get install libnowhere.so.0 or apt-get install libelsewhere.so.0",
  );
});

for (const method of ["zlib", "zstd"] as const) {
  Deno.test(`compressionLibrary of ${method} tells the library that openCompressor takes`, () => {
    const { library, instead } = compressionLibrary(method);
    using compressor = openCompressor(method, 1);
    assertEquals(compressor.library, library);
    assertEquals(library, librariesOf(method)[0]!.library);
    if (instead !== undefined) assert(instead.includes(library), instead);
  });
}

const PROGRAM = `
import { compressionLibrary, openCompressor } from "./ffi/compression/codec.ts";

const mapped = () => /zstd-napi/.test(Deno.readTextFileSync("/proc/self/maps"));
openCompressor("zlib", 1).close();
const early = mapped();
try {
  const told = compressionLibrary("zstd");
  using compressor = openCompressor("zstd", 1);
  console.log(JSON.stringify({ early, late: mapped(), told, used: compressor.library }));
} catch (error) {
  console.log(JSON.stringify({ early, error: error.message }));
}
`;

/** Runs the program beside ffi/, on a host whose libzstd.so.1 is no library. */
async function runWithoutLibzstd(prepare: (directory: string) => Promise<void>): Promise<unknown> {
  const directory = await Deno.makeTempDir();
  try {
    const root = new URL("../../", import.meta.url).pathname;
    const copy = await new Deno.Command("cp", { args: ["-r", `${root}ffi`, directory] }).output();
    assert(copy.success);
    await Deno.writeTextFile(`${directory}/program.ts`, PROGRAM);
    await Deno.mkdir(`${directory}/lib`);
    await Deno.writeTextFile(`${directory}/lib/libzstd.so.1`, "no library");
    await prepare(directory);
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-check", "--no-config", "program.ts"],
      cwd: directory,
      env: { LD_LIBRARY_PATH: `${directory}/lib` },
    }).output();
    const text = new TextDecoder();
    assert(stdout.length > 0, text.decode(stderr));
    return JSON.parse(text.decode(stdout).replaceAll(directory, ""));
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

const BROKEN = "libzstd.so.1 cannot be opened (/lib/libzstd.so.1: file too short)";

Deno.test("compressionLibrary says what to install where zstd has no library at all", async () => {
  const error = `No library for zstd: ${BROKEN}, zstd-napi was not found: ` +
    "apt-get install libzstd1 or deno task setup";
  assertEquals(await runWithoutLibzstd(() => Promise.resolve()), { early: false, error });
});

const zstdNapi = LIBRARIES.find(({ library }) => library.library === "zstd-napi")!;
const PACKAGE = new URL("../../node_modules/zstd-napi/", import.meta.url).pathname;

testUnless(
  zstdNapi.skip,
  "compressionLibrary takes zstd-napi where libzstd is missing, and loads it no sooner",
  async () => {
    const outcome = await runWithoutLibzstd(async (directory) => {
      await Deno.mkdir(`${directory}/node_modules`);
      await Deno.symlink(PACKAGE, `${directory}/node_modules/zstd-napi`);
    });
    const told = { library: "zstd-napi", instead: `${BROKEN}: zstd-napi is used` };
    assertEquals(outcome, { early: false, late: true, told, used: "zstd-napi" });
  },
);

testUnless(
  zstdNapi.skip,
  "compressionLibrary tells a zstd-napi that was not built from one that is not there",
  async () => {
    const outcome = await runWithoutLibzstd(async (directory) => {
      const unbuilt = `${directory}/node_modules/zstd-napi`;
      await Deno.mkdir(unbuilt, { recursive: true });
      for (const file of ["package.json", "binding.js"]) {
        await Deno.copyFile(`${PACKAGE}${file}`, `${unbuilt}/${file}`);
      }
    });
    const error = `No library for zstd: ${BROKEN}, zstd-napi was not built: ` +
      "apt-get install libzstd1 or deno task setup";
    assertEquals(outcome, { early: false, error });
  },
);
