/** Migrations over TLS to real QEMUs whose connections break after the guest ran: they go on. */
import "../support/native.ts";
import { assertEquals, assertInstanceOf, assertMatch } from "@std/assert";
import { loadCredentials } from "../../channel/tls/credentials.ts";
import { shakeHands } from "../../channel/tls/shake_hands.ts";
import { Listener } from "../../ffi/listener.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import { TlsError } from "../../ffi/tls/tls_error.ts";
import { openImage } from "../../image/open_image.ts";
import { MigrationError } from "../../migration/migration_error.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { listenForRecovery, waitForMigration } from "../../qemu/migration.ts";
import { type Mode, MODES } from "../../server/sending/mode.ts";
import { Source } from "../../server/source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { FaultRelay } from "../support/fault_relay.ts";
import { freePort } from "../support/free_port.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { StatusLog } from "../support/status_log.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { certificatesShared, issued, KINDS, type Shared } from "./qemu_credentials.ts";
import { testedQemus } from "./qemus.ts";
import { PREEMPT, SavedGuest, VANILLA, type WaitingQemu } from "./saved_guest.ts";

/** Bytes a second: the guest needs longer than a test takes to break its connection. */
const SLOW = 4 << 20;
/** Bytes of a channel after which it breaks: some pages have come by then, the last not whole. */
const SOME_BYTES = 60_123;
/** Connections that are made in vain. */
const TRIES = 3;

/** A migration whose guest runs at a QEMU, and whose connections are about to break. */
interface Broken {
  readonly waiting: WaitingQemu;
  readonly relay: FaultRelay;
  readonly log: StatusLog;
}

/** Has a paused QEMU listen again, and connections sent there. */
async function listenAgain({ waiting: { qemu }, relay }: Broken): Promise<void> {
  await waitForMigration(qemu, ["postcopy-paused"]);
  const port = freePort();
  await listenForRecovery(qemu, port);
  relay.redirect({ transport: "tcp", host: "127.0.0.1", port });
}

/** A destination that shakes hands, and then ends the connection, as one does that denies the other. */
class Denying implements AsyncDisposable {
  /** Connections so far. */
  count = 0;
  readonly #serving: Promise<void>;

  private constructor(readonly listener: Listener, credentials: string) {
    this.#serving = this.#serve(credentials);
  }

  static async start(credentials: string): Promise<Denying> {
    return new Denying(await Listener.listen(LOOPBACK), credentials);
  }

  async #serve(credentials: string): Promise<void> {
    using servers = loadCredentials(credentials, "server", {}, () => {});
    while (true) {
      using socket = await this.listener.accept().catch(() => undefined);
      if (socket === undefined) return;
      using session = new TlsSession(servers, socket.fd, socket.peer);
      await shakeHands(ThreadPool.shared, () => session.handshake).catch(() => {});
      this.count++;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.listener.close();
    await this.#serving;
  }
}

for (const { name, binary, skip } of await testedQemus()) {
  const goesOn = (
    what: string,
    share: () => Promise<Shared>,
    mode: Mode,
    meanwhile: (broken: Broken, shared: Shared) => Promise<void> = () => Promise.resolve(),
  ) =>
    testUnless(
      firstOf(skip, needsOpenssl()),
      `Source in mode ${mode} goes on over TLS ${what}, with ${name}`,
      leavingNoDescriptors(async () => {
        await using shared = await share();
        await using saved = await SavedGuest.capture({ binary });
        const capabilities = mode === "vanilla" ? VANILLA : PREEMPT;
        const waiting = await saved.destination(capabilities, {}, shared.give);
        await using relay = await FaultRelay.start(waiting.address);
        const log = new StatusLog();
        using image = await openImage(saved.path);
        await using source = new Source(image, {
          to: relay.address,
          mode,
          maxPostcopyBandwidth: SLOW,
          tls: shared.tls,
          onStatus: log.add,
        });
        const run = source.run();
        run.catch(() => {});
        const count = mode === "vanilla" ? 1 : 2;
        await within("the connections", relay.came(count));
        // On a preempt channel pages come only once it runs.
        if (mode === "vanilla") await waiting.qemu.waitUntilRunning();
        const first = relay.connections[count - 1]!;
        first.cutAt(first.passed + SOME_BYTES);
        await within("the break", first.over());
        relay.cut();
        await within("the pause", log.reached("postcopy-paused"));
        const broken = { waiting, relay, log };
        await meanwhile(broken, shared);
        await within("the destination's pause", listenAgain(broken));
        await within("the source to go on", log.reached("postcopy-active", 2));
        source.setMaxPostcopyBandwidth(0);
        const { status } = await within("the source to complete", run, 120_000);
        assertEquals(status, "completed");
        await waitForMigration(waiting.qemu, ["completed"]);
        await saved.countsOn(waiting.qemu);
      }),
    );

  for (const [kind, share] of Object.entries(KINDS)) {
    for (const mode of MODES) goesOn(`after both connections broke, with ${kind}`, share, mode);
  }

  /** What the source says of its pauses while it tries in vain: a reason is news once. */
  const inVain = async ({ log, relay }: Broken, denying: Denying): Promise<Error[]> => {
    relay.redirect(denying.listener.address);
    await until("some tries", () => denying.count >= TRIES);
    assertEquals(log.items.some(({ status }) => status === "postcopy-recover"), false);
    const paused = log.items.filter(({ status }) => status === "postcopy-paused");
    return paused.map(({ reason }) => reason!);
  };

  goesOn(
    "once a certificate is right again",
    certificatesShared,
    "preempt-full",
    async (broken) => {
      await using other = await issued();
      await using denying = await Denying.start(other.directory);
      const [first, refused, ...more] = await inVain(broken, denying);
      assertEquals((first as MigrationError).code, "CONNECTION_LOST");
      assertInstanceOf(refused, MigrationError);
      assertEquals(refused.code, "TLS_FAILED");
      assertInstanceOf(refused.cause, TlsError);
      assertEquals(refused.cause.code, "UNKNOWN_AUTHORITY");
      assertEquals(more, []);
    },
  );

  goesOn(
    "once it is let in again",
    certificatesShared,
    "preempt-full",
    async (broken, { tls }) => {
      await using denying = await Denying.start(tls.credentials);
      const [, refused, ...more] = await inVain(broken, denying);
      assertMatch(refused!.message, /ended the connection right after the handshake: .* tls-authz/);
      assertEquals(more, []);
    },
  );
}
