/** Stock QEMUs that migrate to us by a pre-shared key: the right one, a wrong one, and as a stranger. */
import "../support/native.ts";
import { assertEquals, assertMatch, assertRejects } from "@std/assert";
import type { ConnectionEvent } from "../../client/command/connection_news.ts";
import { Destination } from "../../client/destination.ts";
import { viewMemory } from "../../ffi/memory.ts";
import { formatSocketAddress, type SocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import { checkRounds, startGuest, waitForRound } from "../../qemu/guest.ts";
import { setCapabilities, setParameters, waitForMigration } from "../../qemu/migration.ts";
import type { Qemu } from "../../qemu/qemu.ts";
import { assertImageMemory } from "../receive/memory_model.ts";
import { ReceiveProcess } from "../receive/receive_process.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { assertSameMemory, readRamBlocks } from "./qemu_memory.ts";
import { testedQemus } from "./qemus.ts";
import { type Capabilities, PREEMPT, VANILLA } from "./saved_guest.ts";

const KEY = "8f".repeat(32);
/** Bytes a second: what is asked for overtakes the rest. */
const SLOW = 512 << 10;

/** Who is refused, and what this end says of it. */
interface Refused {
  readonly identity: string;
  readonly key: string;
  readonly told: RegExp;
}

const WRONG_KEY: Refused = {
  identity: "guest",
  key: "8e".repeat(32),
  told: /the source at 127\.0\.0\.1 has another pre-shared key than this end for its identity/,
};
const STRANGER: Refused = {
  identity: "stranger",
  key: KEY,
  told: /goes by an identity that is not in keys\.psk here: stranger: .* \(.*username=\)/,
};

/** A QEMU and a directory of ours, with the same key for the same identity. */
class Sharing implements AsyncDisposable {
  readonly credentials: string;
  readonly #stack = new AsyncDisposableStack();
  #objects = 0;

  private constructor(readonly directory: string, readonly qemu: Qemu) {
    this.#stack.defer(() => Deno.remove(directory, { recursive: true }));
    this.#stack.use(qemu);
    this.credentials = `${directory}/keys.psk`;
  }

  static async start(machine: Parameters<typeof startGuest>[0]): Promise<Sharing> {
    const directory = await Deno.makeTempDir();
    const sharing = new Sharing(directory, await startGuest(machine));
    await Deno.writeTextFile(sharing.credentials, `guest:${KEY}\n`, { mode: 0o600 });
    await waitForRound(sharing.qemu, 2);
    return sharing;
  }

  /** Has the QEMU go by an identity, with a key. */
  async goBy(username: string, key = KEY): Promise<void> {
    const { directory } = this.qemu;
    const id = `psk${this.#objects++}`;
    await Deno.mkdir(directory.ours(id));
    await Deno.writeTextFile(directory.ours(`${id}/keys.psk`), `${username}:${key}\n`);
    const object = { "qom-type": "tls-creds-psk", endpoint: "client", username };
    await this.qemu.execute("object-add", { id, dir: directory.theirs(id), ...object });
    await setParameters(this.qemu, { "tls-creds": id });
  }

  /** Has it begin a migration of a stopped guest. */
  async depart(to: SocketAddress, capabilities: Capabilities): Promise<void> {
    await this.qemu.stop();
    await setCapabilities(this.qemu, capabilities);
    await this.qemu.execute("migrate", { uri: formatSocketAddress(to) });
  }

  /** Has it try with what is refused; its guest goes on. */
  async tryInVain(to: SocketAddress, { identity, key }: Refused): Promise<void> {
    await this.goBy(identity, key);
    const since = this.qemu.qmp.events.items.length;
    await this.qemu.execute("migrate", { uri: formatSocketAddress(to) });
    await waitForMigration(this.qemu, ["failed"], { since });
    await waitForRound(this.qemu, checkRounds(this.qemu.serial.text) + 1);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stack.disposeAsync();
  }
}

for (const { name, binary, skip } of await testedQemus()) {
  const test = (title: string, body: (sharing: Sharing) => Promise<void>) =>
    testUnless(
      skip,
      `${title}, with ${name}`,
      leavingNoDescriptors(async () => {
        await using sharing = await Sharing.start({ binary, tick: 64 });
        await body(sharing);
      }),
    );

  /** Lets a QEMU with the right key in, whose guest switches where it can; compares its memory. */
  const arrives = async (
    { qemu, ...sharing }: Pick<Sharing, "qemu"> & { depart: () => Promise<void> },
    destination: Destination,
    guest: StillGuest,
  ) => {
    await setParameters(qemu, { "max-bandwidth": SLOW });
    await sharing.depart();
    await qemu.execute("migrate-start-postcopy");
    await within("the destination", destination.finished);
    await waitForMigration(qemu, ["completed"]);
    const blocks = guest.blocks.map(({ name, address, length }) =>
      [name, viewMemory(address, length)] as const
    );
    await assertSameMemory(qemu, new Map(blocks));
  };

  test("Destination by a pre-shared key has every byte of a guest that comes with preempt", async (sharing) => {
    const guest = new StillGuest();
    await using destination = new Destination({ guest, tls: { credentials: sharing.directory } });
    const to = await destination.listen(LOOPBACK);
    await sharing.goBy("guest");
    const depart = () => sharing.depart(to, PREEMPT);
    await arrives({ qemu: sharing.qemu, depart }, destination, guest);
    assertEquals(destination.refusedConnections.count, 0);
  });

  test("Destination tells of a wrong pre-shared key and of a stranger's, and takes the right one after that", async (sharing) => {
    const guest = new StillGuest();
    await using destination = new Destination({ guest, tls: { credentials: sharing.credentials } });
    const to = await destination.listen(LOOPBACK);
    // In the same second: the second is told of when that is over.
    for (const refused of [WRONG_KEY, STRANGER]) {
      await sharing.tryInVain(to, refused);
      await until("the reason", () => refused.told.test(destination.refusedConnections.last));
    }
    assertEquals([destination.refusedConnections.count, guest.calls], [2, []]);
    await sharing.goBy("guest");
    const depart = () => sharing.depart(to, VANILLA);
    await arrives({ qemu: sharing.qemu, depart }, destination, guest);
  });

  test("receive by a pre-shared key takes a guest that comes with preempt", async (sharing) => {
    const { directory, qemu } = sharing;
    const image = `${directory}/image`;
    await using receiver = new ReceiveProcess(["--image", image, "--tls-creds", directory]);
    await sharing.goBy("guest");
    await setParameters(qemu, { "max-bandwidth": SLOW });
    await sharing.depart(await receiver.address(), PREEMPT);
    await qemu.execute("migrate-start-postcopy");
    const result = await receiver.event("result");
    assertEquals([result["error-desc"], result.received], [undefined, result.pages]);
    await waitForMigration(qemu, ["completed"]);
    using opened = await openImage(image);
    assertImageMemory(opened, await readRamBlocks(qemu));
  });

  test("receive tells of a wrong pre-shared key and of a stranger's, and takes the right one after that", async (sharing) => {
    const { directory, qemu, credentials } = sharing;
    const image = `${directory}/image`;
    await using receiver = new ReceiveProcess(["--image", image, "--tls-creds", credentials]);
    const to = await receiver.address();
    await sharing.tryInVain(to, STRANGER);
    const told = await receiver.line("the refusal", (line) => {
      const { event, last } = JSON.parse(line) as Partial<ConnectionEvent>;
      return event === "refused" ? last : undefined;
    });
    assertMatch(told!, STRANGER.told);
    await sharing.tryInVain(to, WRONG_KEY);
    await assertRejects(() => Deno.stat(image), Deno.errors.NotFound);
    await sharing.goBy("guest");
    await sharing.depart(to, VANILLA);
    const result = await receiver.event("result");
    assertEquals([result["error-desc"], result.received], [undefined, result.pages]);
    await waitForMigration(qemu, ["completed"]);
    using opened = await openImage(image);
    assertImageMemory(opened, await readRamBlocks(qemu));
  });
}
