import "../support/native.ts";
import { assert, assertEquals, assertLess, assertStringIncludes } from "@std/assert";
import { deflateSync } from "node:zlib";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import { writeWorkloadImage } from "../../workload/image.ts";
import type { WorkloadEvent, WorkloadResult } from "../../client/command/workload_report.ts";
import { TestPattern } from "../../workload/test_pattern.ts";
import { runHere } from "../command/command_lines.ts";

const PAGES = 1024;
const pattern = { seed: 77, zeroEvery: 4 };
const blocks = [{ name: "low", length: 96 * 4096 }, { name: "high", length: (PAGES - 96) * 4096 }];

function program(name: string): string {
  return new URL(`../../${name}`, import.meta.url).pathname;
}

function run(args: readonly string[]): Deno.ChildProcess {
  return new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", ...args],
    stdout: "piped",
    stderr: "piped",
  }).spawn();
}

/** Serves an image to `workload --json` and returns how that ended. */
async function migrate(
  image: string,
  options: readonly string[],
): Promise<{ code: number; result: WorkloadResult | undefined; complaint: string }> {
  const destination = run([
    program("client/main.ts"),
    ...["workload", "--listen", "tcp:127.0.0.1:0", "--json"],
    ...options,
  ]);
  const complaint = new Response(destination.stderr).text();
  let result: WorkloadResult | undefined;
  let source: Promise<Deno.CommandOutput> | undefined;
  let rest = "";
  for await (const text of destination.stdout.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const event of lines.map((line) => JSON.parse(line) as WorkloadEvent)) {
      if (event.event === "listening") {
        source = run([program("server/main.ts"), "serve", image, "--to", event.address]).output();
      }
      if (event.event === "result") result = event;
    }
  }
  const { code } = await destination.status;
  await source;
  return { code, result, complaint: await complaint };
}

async function withImage(use: (image: string) => Promise<void>): Promise<void> {
  const directory = await Deno.makeTempDir();
  try {
    const image = `${directory}/guest.img`;
    await writeWorkloadImage(image, { ...pattern, blocks });
    await use(image);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

Deno.test("workload receives a guest of two blocks and finds every byte right", async () => {
  await withImage(async (image) => {
    const { code, result } = await migrate(image, ["--write", "--until-touched"]);
    assertEquals(code, 0);
    assertEquals(result?.check, { pages: PAGES, wrongPages: 0 });
    assertEquals(result?.workload.touched, PAGES);
    assertEquals(result?.destination.status, "completed");
  });
});

Deno.test("workload with memfd memory reads each page once", async () => {
  await withImage(async (image) => {
    const { code, result } = await migrate(image, ["--pattern", "once", "--backing", "memfd"]);
    assertEquals(code, 0);
    assertEquals(result?.workload.accesses, PAGES);
  });
});

Deno.test("workload-image --compressible makes a guest that compresses, and runs as any other", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const image = `${directory}/guest.img`;
    const args = ["--size", "4M", "--zero-every", "0", "--compressible", "8"];
    const made = await run([program("client/main.ts"), "workload-image", image, ...args]).output();
    assertEquals(made.code, 0);
    assertLess(deflateSync(await Deno.readFile(image)).length, 2 ** 22 / 7);
    const { code, result } = await migrate(image, ["--write", "--until-touched"]);
    assertEquals([code, result?.check], [0, { pages: PAGES, wrongPages: 0 }]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("workload-image replaces no file unless --overwrite is given", async () => {
  for (const name of ["guest.img", "guest.img.json", "guest.img.devices"]) {
    const directory = await Deno.makeTempDir();
    try {
      const image = `${directory}/guest.img`;
      const args = ["workload-image", image, "--size", "1M"];
      await Deno.writeTextFile(`${directory}/${name}`, "precious");
      const { code, errors } = await runHere("client/main.ts", ...args);
      assertEquals(code, 1);
      assertStringIncludes(errors, `${directory}/${name}`);
      assertStringIncludes(errors, "--overwrite");
      assertEquals([...Deno.readDirSync(directory)].map((file) => file.name), [name]);
      assertEquals(await Deno.readTextFile(`${directory}/${name}`), "precious");
      const made = await runHere("client/main.ts", ...args, "--overwrite");
      assertEquals(made.code, 0, made.errors);
      assertEquals((await Deno.stat(image)).size, 1 << 20);
      assertEquals([...Deno.readDirSync(directory)].length, 3);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }
});

Deno.test("workload-image refuses another --compressible than those there are", async () => {
  const args = ["workload-image", "/nowhere/guest.img", "--compressible", "128"];
  const { code, errors } = await runHere("client/main.ts", ...args);
  assertEquals(code, 2);
  assertStringIncludes(errors, "use 1, 2, 4, 8, 16, 32, 64");
});

Deno.test("workload ends with 1 and names the byte when one is wrong", async () => {
  await withImage(async (image) => {
    const page = 1000;
    const offset = 4095;
    const words = new Int32Array(1024);
    new TestPattern(pattern).expectedPage(page, words);
    const expected = new Uint8Array(words.buffer)[offset]!;
    using file = await Deno.open(image, { write: true });
    await file.seek(page * 4096 + offset, Deno.SeekMode.Start);
    await file.write(new Uint8Array([expected ^ 0x10]));
    const { code, result } = await migrate(image, []);
    assertEquals(code, 1);
    assertEquals(result?.check.wrongPages, 1);
    assertEquals(result?.check.first, { page, offset, expected, found: expected ^ 0x10 });
  });
});

Deno.test("workload refuses the image of another guest and says so", async () => {
  await withImage(async (image) => {
    await Deno.writeFile(`${image}.devices`, encodeWorkloadState({ ...pattern, pages: 5 }));
    const { code, complaint } = await migrate(image, []);
    assertEquals(code, 1);
    assertStringIncludes(complaint, "5 pages came with memory of: 1024 pages");
  });
});

Deno.test("workload refuses arguments that it does not understand", async () => {
  for (
    const [args, complaint] of [
      [[], "No address given"],
      [["--listen", "nowhere"], "Unknown address: nowhere"],
      [["--listen", "tcp::1", "--pattern", "zigzag"], "Unknown --pattern: zigzag"],
      [["--listen", "tcp::1", "--threads", "0"], "Threads must be a whole number from 1"],
      [["--listen", "tcp::1", "--rate", "-"], "--rate"],
    ] as const
  ) {
    const { code, errors } = await runHere("client/main.ts", "workload", ...args);
    assertEquals(code, 2);
    assertStringIncludes(errors, complaint);
  }
});

Deno.test("workload stays paused when the source dies, and ends when it is told to", async () => {
  await withImage(async (image) => {
    const destination = run([
      program("client/main.ts"),
      ...["workload", "--listen", "tcp:127.0.0.1:0", "--json", "--pattern", "once"],
      ...["--rate", "10"], // it takes most of a minute to touch all pages
    ]);
    const complaint = new Response(destination.stderr).text();
    let source: Deno.ChildProcess | undefined;
    let paused = false;
    let reason = "";
    let told: string | undefined;
    let rest = "";
    for await (const text of destination.stdout.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      for (const event of lines.map((line) => JSON.parse(line) as WorkloadEvent)) {
        if (event.event === "listening") {
          const limit = ["--max-postcopy-bandwidth", "1", "--mode", "vanilla"];
          source = run([
            program("server/main.ts"),
            "serve",
            image,
            "--to",
            event.address,
            ...limit,
          ]);
        }
        if (event.event === "progress" && event.destination.status === "postcopy-active") {
          try {
            source!.kill("SIGKILL");
          } catch {
            // It is gone already.
          }
        }
        if (event.event === "paused") reason = event.reason;
        if (event.event === "progress" && event.destination.status === "postcopy-paused") {
          assert(event["error-desc"]);
          if (paused) continue;
          paused = true;
          told = event["error-desc"];
          destination.kill("SIGINT");
        }
        assert(event.event !== "result");
      }
    }
    const { code } = await destination.status;
    await source!.output();
    assert(paused);
    assertEquals(told, reason); // progress says why too
    assertEquals(code, 130);
    assertStringIncludes(await complaint, "Interrupted");
  });
});
