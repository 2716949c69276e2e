/** `save --qmp ADDRESS IMAGE`: a running QEMU's guest goes into an image, in one command. */

import { ExitCode, exitCodeOf } from "../../client/command/command_line.ts";
import { tellReceiving } from "../../client/command/receive_command.ts";
import type { ReceiveEvent } from "../../client/command/receive_report.ts";
import { Receiving } from "../../client/command/receiving.ts";
import { onReceiveSignals } from "../../client/command/receive_signals.ts";
import { ImageReceiver } from "../../client/receive/image_receiver.ts";
import { survivingFileLimit } from "../../ffi/file_limit.ts";
import { UsageError } from "../../migration/command/arguments.ts";
import type { Command } from "../../migration/command/command.ts";
import { Interrupted, onInterrupt } from "../../migration/command/interrupt.ts";
import { warnLine } from "../../migration/command/output.ts";
import { newReporter } from "../../migration/command/reporter.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { MigrationEvents } from "./migration_events.ts";
import { Monitor } from "./monitor.ts";
import { MonitorError } from "./monitor_error.ts";
import { monitorPath } from "./monitor_path.ts";
import { PrivateSockets } from "./private_sockets.ts";
import { kindOf, qemuCredentials } from "./qemu_tls.ts";
import { QmpExitCode, qmpExitCodeOf } from "./qmp_options.ts";
import { migrateUriOf, SAVE_OPTIONS, type SaveArguments, saveArguments } from "./save_arguments.ts";
import { type FoundSource, lookAtSource, SaveSource } from "./save_source.ts";
import { savedLines } from "./save_text.ts";
import { whyNotWhole } from "./whole_image.ts";
import type { WantedSettings } from "./migration_settings.ts";

/** The command `save`. */
export const SAVE: Command = {
  synopsis: "IMAGE --qmp ADDRESS [options]",
  about: [
    "Saves the guest of a running QEMU into IMAGE, which restore and serve run again, as QEMU 9.0 or later does: " +
    "stops it, receives its memory and devices as receive does, and puts back what was set. When it fails or is " +
    "interrupted, the guest goes on as before.",
    "QEMU is spoken to by QMP alone. The guest's disks are not part of the image: they are to be copied before " +
    "it, or anything else, runs on them again.",
  ],
  options: SAVE_OPTIONS,
  exits: {
    [ExitCode.DONE]: "the image is complete",
    [ExitCode.FAILED]: "the migration failed, or the image cannot be written",
    [ExitCode.USAGE]: "wrong usage",
    [ExitCode.CANNOT_LISTEN]: "QEMU's monitor cannot be reached, or the address not be listened at",
    [QmpExitCode.UNFIT]: "QEMU has no guest that can be saved, or refuses",
    [ExitCode.INTERRUPTED]: "interrupted",
  },
  run: saveCommand,
  exitCodeOf: (error) => qmpExitCodeOf(error, ExitCode.CANNOT_LISTEN) ?? exitCodeOf(error),
};

/**
 * Saves a guest.
 *
 * @param program what the user typed before the command's name
 * @returns the exit code
 * @throws {UsageError} for arguments that cannot be understood
 * @throws {MonitorError} when QEMU cannot be spoken to, has no guest to save, or refuses
 * @throws {SyscallError} when the image cannot be made, or the address not be listened at
 * @throws {MigrationError} when the migration failed
 */
export async function saveCommand(args: readonly string[], program: string): Promise<number> {
  const said = saveArguments(args);
  // A limit on the size of files (ulimit -f) is told by an errno too: the signal would end the process.
  using _limit = survivingFileLimit();
  const abort = new AbortController();
  const events = new MigrationEvents();
  using early = onInterrupt(() => abort.abort(new Interrupted("the guest is as it was")));
  await using monitor = await Monitor.connect({
    address: said.qmp,
    timeout: said.receiver.stallTimeout!,
    onEvent: events.hear,
    onEnd: events.end,
    signal: abort.signal,
  });
  const found = await lookAtSource(monitor);
  const path = said.qmp.transport === "unix"
    ? await monitorPath(monitor, said.qmp.path)
    : undefined;
  const wanted = settingsOf(said, found, monitor.name);
  await using receiver = new ImageReceiver({ ...said.receiver, signal: abort.signal });
  using sockets = said.listen === undefined
    ? await PrivateSockets.make(path!.ours, path!.theirs)
    : undefined;
  const socket = sockets?.next();
  const listening = await receiver.listen(said.listen ?? { transport: "unix", path: socket!.ours });
  if (socket !== undefined) await sockets!.share(socket);
  const uri = socket === undefined ? migrateUriOf(listening, said) : `unix:${socket.theirs}`;
  abort.signal.throwIfAborted();
  early[Symbol.dispose]();
  const source = new SaveSource(monitor, events, found, said.receiver.stallTimeout!);
  return await new Save({ said, abort, monitor, events, receiver, source, program }).run(
    uri,
    wanted,
  );
}

/** What a guest is saved with. */
interface SaveInit {
  readonly said: SaveArguments;
  /** Ends the receiver. */
  readonly abort: AbortController;
  readonly monitor: Monitor;
  readonly events: MigrationEvents;
  readonly receiver: ImageReceiver;
  readonly source: SaveSource;
  readonly program: string;
}

/** One guest on its way into an image. */
class Save {
  readonly #init: SaveInit;

  constructor(init: SaveInit) {
    this.#init = init;
  }

  async run(uri: string, wanted: WantedSettings): Promise<number> {
    const { said, abort, monitor, events, receiver, source, program } = this.#init;
    let ended = false;
    let info: Awaited<ReturnType<SaveSource["done"]>>["info"] = new Error("not asked");
    const reporter = newReporter<ReceiveEvent>(
      said.json,
      (event, line) =>
        tellReceiving(
          event,
          line,
          (result) => savedLines({ result, source: info, ended }, program),
        ),
    );
    using _signals = onReceiveSignals(receiver, abort, reporter);
    events.onNews = (text) => reporter.note(text);
    using receiving = new Receiving(receiver, said.path, reporter);
    monitor.holdOut();
    receiving.begin();
    try {
      await source.begin(uri, wanted, said.live, abort.signal);
      await this.#received();
    } catch (error) {
      receiving[Symbol.dispose]();
      reporter.event({ ...receiving.result, "error-desc": (error as Error).message });
      await receiver.close();
      for (const note of await source.giveUp()) warnLine(note);
      if (!(error instanceof MigrationError) || error.code !== "CANCELLED") throw error;
      warnLine(`postcopy: ${error.message}`);
      return ExitCode.INTERRUPTED;
    }
    receiving[Symbol.dispose]();
    const done = await source.done();
    info = done.info;
    const broken = await whyNotWhole(said.path, receiver);
    if (broken === undefined && said.quit && !(info instanceof Error)) {
      ended = info.status === "completed" && await this.#quit();
    }
    const json = info instanceof Error ? {} : { source: info };
    reporter.event({ ...receiving.result, ...json });
    for (const note of done.notes) warnLine(note);
    if (broken === undefined) return ExitCode.DONE;
    throw new MigrationError(
      "IMAGE_FAILED",
      `Image is not as it should be: ${said.path}: ${broken}: the guest is stopped at QEMU, with all of its ` +
        'memory: {"execute": "cont"} lets it go on',
    );
  }

  /** Waits until the image is complete; a QEMU that fails, or is gone before it came, ends that. */
  async #received(): Promise<void> {
    const { abort, receiver, source, monitor } = this.#init;
    const over = new AbortController();
    const watched = source.failed(over.signal).then((reason) => {
      if (over.signal.aborted || (reason === undefined && receiver.status !== "setup")) return;
      const why = reason ?? `its monitor at ${monitor.name} was closed before it connected here`;
      abort.abort(new MonitorError("REFUSED", `QEMU did not send its guest: ${why}`));
    });
    try {
      await receiver.finished;
    } catch (error) {
      const { reason } = abort.signal;
      throw reason instanceof MonitorError ? reason : error;
    } finally {
      over.abort();
      await watched;
    }
  }

  async #quit(): Promise<boolean> {
    try {
      await this.#init.source.quit();
      return true;
    } catch (error) {
      warnLine(`QEMU could not be ended: ${(error as Error).message}`);
      return false;
    }
  }
}

/** What a QEMU needs for this. */
function settingsOf(
  { receiver, maxBandwidth, listen, migrateUri, qemuTls, qemuTlsHostname }: SaveArguments,
  found: FoundSource,
  name: string,
): WantedSettings {
  const { tls, multifdChannels: channels } = receiver;
  const asked = {
    own: tls,
    role: "server" as const,
    said: qemuTls,
    ...qemuTlsHostname === undefined ? {} : { hostname: qemuTlsHostname },
  };
  const credentials = qemuCredentials(asked, found.parameters, name);
  const host = qemuTlsHostname ?? found.parameters["tls-hostname"] ?? "";
  const byUnix = (migrateUri ?? listen ?? { transport: "unix" }).transport === "unix";
  if (tls !== undefined && byUnix && host === "" && kindOf(tls, "server")["qom-type"] === X509) {
    throw new UsageError(
      "QEMU would not know whose certificate to expect at a unix socket: say the name in this end's by " +
        "--qemu-tls-hostname",
    );
  }
  return {
    capabilities: { ...CAPABILITIES, multifd: channels !== undefined },
    parameters: {
      "max-bandwidth": maxBandwidth,
      ...channels === undefined ? {} : { "multifd-channels": channels },
    },
    ...credentials === undefined ? {} : { credentials },
  };
}

const X509 = "tls-creds-x509";

/** With a return path QEMU waits until the image is on the disk; what is off here would not go into an image. */
const CAPABILITIES = {
  "return-path": true,
  events: true,
  "postcopy-ram": false,
  "postcopy-preempt": false,
  "dirty-bitmaps": false,
  "switchover-ack": false,
  "pause-before-switchover": false,
  "background-snapshot": false,
  "release-ram": false,
  "zero-copy-send": false,
  "x-ignore-shared": false,
  "mapped-ram": false,
  "x-colo": false,
  block: false,
};
