/** `restore` and `save` over TLS, for which they give the QEMU its credentials. */
import "../../support/native.ts";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { startGuest, waitForRound } from "../../../qemu/guest.ts";
import { waitForMigration } from "../../../qemu/migration.ts";
import type { Qemu } from "../../../qemu/qemu.ts";
import { filesOf } from "../../../qemu/credentials.ts";
import { issued } from "../../interop/qemu_credentials.ts";
import { testedQemus } from "../../interop/qemus.ts";
import { SavedGuest } from "../../interop/saved_guest.ts";
import { firstOf, testUnless } from "../../support/skip.ts";
import { needsOpenssl } from "../../tls/authority.ts";
import { qmpOf, RestoreProcess, SaveProcess, settingsOf } from "./monitored.ts";

const KEY = "5d".repeat(32);

/** Credentials of this end, and how QEMU's are written into its directory. */
interface Shared extends AsyncDisposable {
  readonly directory: string;
  give(qemu: Qemu, end: "client" | "server"): Promise<string>;
}

async function write(qemu: Qemu, files: Readonly<Record<string, string>>): Promise<string> {
  await Deno.mkdir(qemu.directory.ours("tls"));
  for (const [name, text] of Object.entries(files)) {
    await Deno.writeTextFile(qemu.directory.ours(`tls/${name}`), text);
  }
  return qemu.directory.theirs("tls");
}

async function certificates(): Promise<Shared> {
  const authority = await issued();
  return {
    directory: authority.directory,
    give: async (qemu, end) => await write(qemu, await filesOf(authority, end)),
    [Symbol.asyncDispose]: () => authority[Symbol.asyncDispose](),
  };
}

async function keys(): Promise<Shared> {
  const directory = await Deno.makeTempDir();
  const text = `qemu:${KEY}\n`;
  await Deno.writeTextFile(`${directory}/keys.psk`, text, { mode: 0o600 });
  return {
    directory,
    give: (qemu) => write(qemu, { "keys.psk": text }),
    [Symbol.asyncDispose]: () => Deno.remove(directory, { recursive: true }),
  };
}

for (const { name, binary, skip } of await testedQemus()) {
  for (const [kind, share] of Object.entries({ certificates, keys })) {
    const test = (what: string, body: (shared: Shared) => Promise<void>) =>
      testUnless(firstOf(skip, needsOpenssl()), `${what} with ${kind}, with ${name}`, async () => {
        await using shared = await share();
        await body(shared);
      });
    const named = (option: string) => kind === "certificates" ? [option, "127.0.0.1"] : [];

    test("restore encrypts what it sends, also after a break,", async (shared) => {
      await using saved = await SavedGuest.capture({ binary, tick: 64, workingSetMiB: 8 });
      const qemu = await saved.waiting();
      const tls = ["--tls-creds", shared.directory, "--qemu-tls-creds"];
      const theirs = await shared.give(qemu, "server");
      const args = [...tls, theirs, ...named("--tls-hostname"), "--max-postcopy-bandwidth", "128K"];
      await using restore = new RestoreProcess(saved.path, qmpOf(qemu), ...args);
      await qemu.waitUntilRunning();
      await waitForMigration(qemu, ["postcopy-active"]);
      await qemu.qmp.executeOutOfBand("migrate-pause");
      const { destination } = await restore.restored();
      assertEquals(destination?.status, "completed");
      const { errors } = await restore.ended;
      assertMatch(errors, /^Encrypted \(TLSv1\.3/m);
      assertMatch(errors, /^Going on: /m);
      await saved.countsOn(qemu);
    });

    test("save encrypts what QEMU sends, and takes its credentials away again,", async (shared) => {
      const directory = await Deno.makeTempDir({ prefix: "postcopy-save-" });
      await using stack = new AsyncDisposableStack();
      stack.defer(() => Deno.remove(directory, { recursive: true }));
      const qemu = stack.use(await startGuest({ binary, monitorSocket: true }));
      await waitForRound(qemu, 2);
      const theirs = await shared.give(qemu, "client");
      const before = [await settingsOf(qemu), await objects(qemu)];
      const tls = ["--tls-creds", shared.directory, "--qemu-tls-creds", theirs];
      const args = [...tls, ...named("--qemu-tls-hostname")];
      await using save = new SaveProcess(`${directory}/vm.img`, qmpOf(qemu), ...args);
      const { result } = await save.result();
      assertEquals(result["status"], "completed");
      assertEquals([await settingsOf(qemu), await objects(qemu)], before);
    });
  }

  testUnless(
    firstOf(skip, needsOpenssl()),
    `restore and save refuse credentials of one end alone, with ${name}`,
    async () => {
      await using shared = await keys();
      await using saved = await SavedGuest.capture({ binary });
      const qemu = await saved.waiting();
      const theirs = await shared.give(qemu, "server");
      const before = await settingsOf(qemu);
      for (
        const [code, complaint, args] of [
          [6, "has no TLS credentials", ["--tls-creds", shared.directory]],
          [2, "without --tls-creds", ["--qemu-tls-creds", theirs]],
        ] as const
      ) {
        await using restore = new RestoreProcess(saved.path, qmpOf(qemu), ...args);
        assertStringIncludes(await restore.failed(code), complaint);
      }
      assertEquals(await settingsOf(qemu), before);
      const object = { "qom-type": "tls-creds-psk", id: "mine", endpoint: "server", dir: theirs };
      await qemu.execute("object-add", object);
      await qemu.execute("migrate-set-parameters", { "tls-creds": "mine" });
      await using clear = new RestoreProcess(saved.path, qmpOf(qemu));
      assertMatch(await clear.failed(6), /QEMU at \S+ encrypts its migrations.* mine: /);
      await using restore = new RestoreProcess(
        saved.path,
        qmpOf(qemu),
        "--tls-creds",
        shared.directory,
      );
      await restore.restored();
    },
  );
}

/** Names of the objects that a QEMU was given. */
async function objects(qemu: Qemu): Promise<string[]> {
  const list = await qemu.execute<{ name: string }[]>("qom-list", { path: "/objects" });
  return list.map(({ name }) => name).sort();
}
