/**
 * Captures a guest into a file, and feeds a file to a QEMU.
 *
 * @module
 */
import {
  listenForMigration,
  setCapabilities,
  setParameters,
  UNLIMITED_BANDWIDTH,
  waitForMigration,
} from "./migration.ts";
import type { Qemu } from "./qemu.ts";

/** Bytes/s of a capture while its guest runs: a 16 MiB working set then takes 250 ms a pass. */
const LIVE_BANDWIDTH = 64 << 20;

/** How a guest is captured. */
export interface CaptureOptions {
  /**
   * How often the memory is gone through while the guest runs, before it is stopped: pages that it
   * changes meanwhile come again. Default 0: the guest is stopped first, every page comes once.
   */
  livePasses?: number;
  /** "stream" as `migrate "exec:cat > file"` writes it, or "mapped-ram" (QEMU 9.0 and later). */
  format?: "stream" | "mapped-ram";
  /** Bytes of the file that stay free before it; default 0. */
  offset?: number;
  /** Migration capabilities, such as `{ xbzrle: true }`. */
  capabilities?: Readonly<Record<string, boolean>>;
}

/**
 * Writes the whole state of a guest into a file, and leaves the guest stopped.
 *
 * A stream comes over loopback and is written by this process, so that QEMU needs no path that we
 * share; its bytes are those of `migrate "exec:cat > file"`.
 *
 * @param qemu The guest.
 * @param path The file to write.
 * @param options How.
 * @throws {Error} When the migration fails.
 */
export async function capture(
  qemu: Qemu,
  path: string,
  options: CaptureOptions = {},
): Promise<void> {
  const { livePasses = 0, format = "stream", offset = 0, capabilities = {} } = options;
  await setCapabilities(qemu, {
    ...capabilities,
    ...(format === "mapped-ram" && { "mapped-ram": true }),
  });
  await setParameters(qemu, { "max-bandwidth": UNLIMITED_BANDWIDTH });
  // QEMU ends the migration itself when what is left fits the downtime. It works that out every
  // 100 ms, so a pass must take longer, or it takes anything for nothing and ends after the first.
  if (livePasses > 0) {
    await setParameters(qemu, { "max-bandwidth": LIVE_BANDWIDTH, "downtime-limit": 1 });
  }
  if (livePasses === 0) await qemu.stop();
  const since = qemu.qmp.events.items.length;
  const finish = async (): Promise<void> => {
    if (livePasses > 0) {
      const isPass = (data: Readonly<Record<string, unknown>>): boolean =>
        data["pass"] as number > livePasses;
      // A guest that changes little is done before its last pass.
      await Promise.race([
        qemu.qmp.waitForEvent("MIGRATION_PASS", isPass, { since }),
        waitForMigration(qemu, ["completed"], { since }),
      ]);
      await qemu.stop();
      await setParameters(qemu, { "max-bandwidth": UNLIMITED_BANDWIDTH });
    }
    await waitForMigration(qemu, ["completed"], { since });
  };
  if (format === "mapped-ram") {
    const place = `${qemu.directory.theirs("capture")},offset=${offset}`;
    await qemu.execute("migrate", { uri: `file:${place}` });
    await finish();
    await moveFile(qemu.directory.ours("capture"), path);
    return;
  }
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  using file = await Deno.create(path);
  await file.seek(offset, Deno.SeekMode.Start);
  const accepted = listener.accept();
  accepted.catch(() => {});
  await qemu.execute("migrate", { uri: `tcp:127.0.0.1:${listener.addr.port}` });
  const written = (await accepted).readable.pipeTo(file.writable);
  await Promise.all([written, finish()]);
}

/**
 * Restores a captured stream the ordinary way: all memory first, then the guest is there, stopped or
 * running as it was when it was captured.
 *
 * @param qemu A QEMU started with `incoming` on the same machine.
 * @param path The file.
 * @throws {Error} When QEMU refuses it.
 */
export async function restorePrecopy(qemu: Qemu, path: string): Promise<void> {
  const since = qemu.qmp.events.items.length;
  const port = await listenForMigration(qemu);
  using file = await Deno.open(path);
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  // A QEMU that refuses the stream closes the connection: its own reason is the better one.
  const sent = file.readable.pipeTo(connection.writable).catch(() => {});
  const done = waitForMigration(qemu, ["completed"], { since });
  await Promise.all([sent, done]);
}

/** Moves a file, also to another file system; holes stay holes only on the same one. */
async function moveFile(from: string, to: string): Promise<void> {
  try {
    await Deno.rename(from, to);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EXDEV")) throw error;
    await Deno.copyFile(from, to);
    await Deno.remove(from);
  }
}
