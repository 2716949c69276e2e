/** A source that encrypts, and a destination behind who decrypts. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { formatSocketAddress, parseSocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { TlsError } from "../../ffi/tls/tls_error.ts";
import { MODES } from "../../server/sending/mode.ts";
import type { SourceTlsOptions } from "../../server/outgoing/outgoing_options.ts";
import { Source } from "../../server/source.ts";
import { ScriptedHugeDestination } from "../huge/scripted_huge_destination.ts";
import { migrateLive } from "../live/live_migration.ts";
import { LiveWorkloadProcess, ScriptProcess, WorkloadProcess } from "../support/processes.ts";
import { within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { testUnless } from "../support/skip.ts";
import { TestImage } from "../support/images.ts";
import { Authority } from "../../qemu/authority.ts";
import { needsOpenssl } from "./authority.ts";
import type { FilteredSource } from "./filtered_source.ts";
import { TlsFront } from "./tls_front.ts";

/** Pages asked for at once: more than a record of TLS holds requests. */
const PAGES = 3000;

function test(name: string, body: () => Promise<void>): void {
  Deno.test(name, leavingNoDescriptors(body));
}

for (const mode of MODES) {
  test(`Source in mode ${mode} answers whole records of requests over TLS, each page once`, async () => {
    using file = await TestImage.make({ ram: PAGES });
    using image = await openImage(file.path);
    using destination = await ScriptedHugeDestination.listen(
      image.layout,
      Deno.readFileSync(file.path),
    );
    await using front = await TlsFront.start(destination.address);
    // The background stream leaves nearly all pages to be asked for.
    await using source = new Source(image, { ...front.source, mode, maxPostcopyBandwidth: 1e6 });
    const run = source.run();
    run.catch(() => {});
    const playing = destination.play(mode !== "vanilla");
    await within("the guest to run", destination.when(() => destination.running));
    const asking = (async () => {
      const asked: Promise<void>[] = [];
      for (let page = PAGES - 1; page >= 0; page--) {
        asked.push(destination.ask("ram", page * 4096, 4096));
      }
      await Promise.all(asked);
    })();
    const [{ ram }] = await within("the end", Promise.all([run, playing, asking]));
    assert(destination.complete, `Pages came: ${destination.received}`);
    assertEquals(ram.normal + ram.duplicate, PAGES);
    assertEquals(ram["postcopy-requests"], PAGES);
    // Whoever was heard to have everything is told that nothing was cut off.
    await within("the source to close", source.close());
    const words = mode === "vanilla" ? 1 : 2;
    await within("the closing words", front.ended(words));
    assertEquals(front.endings, Array(words).fill("closing word"));
  });
}

for (const postcopy of ["never", "now", 2] as const) {
  test(`LiveSource moves a writing guest over TLS, with postcopy ${postcopy}`, async () => {
    await using stack = new AsyncDisposableStack();
    let front: TlsFront | undefined;
    const { source } = await migrateLive({
      ...postcopy === 2
        ? { postcopy, downtimeLimit: 0, writes: { rounds: 2 } }
        : { postcopy, burst: 5 },
      through: async (to) => {
        front = stack.use(await TlsFront.start(to));
        return front.source;
      },
    });
    assertEquals(source.status, "completed");
    assertEquals(source.ram.remaining, 0);
    const words = postcopy === "never" ? 1 : 2;
    await within("the closing words", front!.ended(words));
    assertEquals(front!.endings, Array(words).fill("closing word"));
  });
}

test("workload --to moves its guest over TLS, and says so", async () => {
  await using destination = new WorkloadProcess("tcp:127.0.0.1:0");
  await using front = await TlsFront.start(parseSocketAddress(await destination.address()));
  const { to, tls } = front.source;
  const args = ["--postcopy", "now", "--tls-creds", tls.credentials];
  await using source = new LiveWorkloadProcess(formatSocketAddress(to), args);
  const [there, { code, errors }] = await within(
    "both to end",
    Promise.all([destination.ended, source.ended]),
  );
  assertEquals([there.code, code], [0, 0], there.errors + errors);
  assertMatch(errors, /Encrypted \(TLSv1\.3 TLS_AES_128_GCM_SHA256\): .* pre-shared key of qemu/);
  assertEquals(destination.last("result")?.check?.wrongPages, 0);
});

test("Source takes a connection that is cut for a break, and says no closing word", async () => {
  using file = await TestImage.make({ ram: 64 });
  using image = await openImage(file.path);
  const content = Deno.readFileSync(file.path);
  using destination = await ScriptedHugeDestination.listen(image.layout, content);
  await using front = await TlsFront.start(destination.address);
  await using source = new Source(image, {
    ...front.source,
    maxPostcopyBandwidth: 1,
    recoverTimeout: 0,
  });
  const run = source.run();
  run.catch(() => {});
  const playing = destination.play(true).catch(() => {});
  await within("the guest to run", destination.when(() => destination.running));
  front.cut();
  const { code, message } = await within("it to fail", assertRejects(() => run, MigrationError));
  assertEquals(code, "CONNECTION_LOST");
  assertMatch(message, /return path: .*ended without TLS's closing word/);
  await within("the destination's end", playing);
  await within("the ends", front.ended(2));
  assertEquals(front.endings, ["cut", "cut"]);
});

testUnless(
  needsOpenssl(),
  "Source needs a name for a unix socket, and good credentials",
  async () => {
    await using authority = await Authority.make();
    using file = await TestImage.make({ ram: 16 });
    using image = await openImage(file.path);
    const to = { transport: "unix", path: "/run/somewhere" } as const;
    const error = (tls: SourceTlsOptions) =>
      assertThrows(() => new Source(image, { to, tls }), TlsError);
    assertEquals(error({ credentials: "/nowhere" }).code, "BAD_CREDENTIALS");
    const unnamed = error({ credentials: authority.directory });
    assertEquals(unnamed.code, "WRONG_NAME");
    assertMatch(unnamed.message, /unix:\/run\/somewhere: say which .* --tls-hostname/);
    const unlooked = { hostname: "there.example" };
    const unchecked = { credentials: authority.directory, verifyPeer: false, ...unlooked };
    assertMatch(error(unchecked).message, /the other end is not checked\): there\.example/);
    const notes: string[] = [];
    await Deno.writeTextFile(authority.path("key.psk"), `qemu:${"0b".repeat(8)}\n`);
    await using _named = new Source(image, {
      to,
      tls: { credentials: authority.path("key.psk") },
      onNote: (text) => void notes.push(text),
    });
    assertMatch(
      error({ credentials: authority.path("key.psk"), ...unlooked }).message,
      /there are pre-shared keys\): there\.example: leave --tls-hostname out/,
    );
    assertEquals(notes.length, 2, notes.join("\n")); // others can read it, and it is short
  },
);

test("Source whose pages cannot be copied says which system call is refused, before it connects", async () => {
  using file = await TestImage.make({ ram: 16 });
  const keys = await Deno.makeTempFile();
  try {
    await Deno.writeTextFile(keys, `qemu:${"0c".repeat(32)}\n`);
    await using process = new ScriptProcess("tests/tls/filtered_source.ts", [file.path, keys]);
    const { code, output, errors } = await process.ended;
    assertEquals({ code, errors }, { code: 0, errors: "" });
    const { begun, compressing, later } = JSON.parse(output) as FilteredSource;
    const remedy = /^process_vm_writev failed with EPERM: .* seccomp filter .* SystemCallFilter=/;
    assertMatch(begun, remedy);
    assertMatch(compressing, remedy);
    assertMatch(later, remedy);
  } finally {
    await Deno.remove(keys);
  }
});
