/** Whoever connects to a destination and is not its source: it costs him a connection, and us nothing. */
import "../support/native.ts";
import { assertEquals, assertGreaterOrEqual, assertStringIncludes } from "@std/assert";
import { Destination } from "../../client/destination.ts";
import { loadCredentials } from "../../channel/tls/credentials.ts";
import { shakeHands } from "../../channel/tls/shake_hands.ts";
import { Socket } from "../../ffi/socket.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import { openImage } from "../../image/open_image.ts";
import { ThreadPool } from "../../migration/threads/thread_pool.ts";
import { Source } from "../../server/source.ts";
import { until, within } from "../support/deadline.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { StillGuest } from "../support/still_guest.ts";
import { Authority } from "../../qemu/authority.ts";
import { needsOpenssl } from "./authority.ts";
import { certificates } from "./credentials.ts";

const skip = needsOpenssl();

testUnless(
  skip,
  "Destination over TLS refuses a stranger with a reason, and takes its source afterwards",
  leavingNoDescriptors(async () => {
    await using both = await certificates();
    await using others = await Authority.make();
    await others.issue("client", { purpose: "clientAuth" });
    const { source: client, destination: server } = both.encryption;
    using image = await TestImage.make({ ram: 64 });
    using opened = await openImage(image.path);
    const guest = new StillGuest();
    await using destination = new Destination({ guest, tls: server });
    const to = await destination.listen(LOOPBACK);

    {
      using plain = await Socket.connect(to);
      await plain.sendAll(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
      await until("the refusal", () => destination.refusedConnections.count === 1);
      assertStringIncludes(destination.refusedConnections.last, "does not speak TLS");
    }
    {
      const credentials = others.directory;
      await using stranger = new Source(opened, {
        to,
        tls: { credentials, verifyPeer: false },
        recoverTimeout: 0,
      });
      const error = await within("the stranger to fail", stranger.run().then(() => {}, (e) => e));
      assertEquals(error instanceof Error, true);
    }
    await using source = new Source(opened, { to, tls: client });
    await within("the source to complete", source.run());
    await within("the destination to complete", destination.finished);
    image.assertEqualMemory(guest.blocks);
    assertGreaterOrEqual(destination.refusedConnections.count, 1);
  }),
);

testUnless(
  skip,
  "Destination over TLS tells of a source that leaves after the handshake, as a QEMU refuses a certificate",
  leavingNoDescriptors(async () => {
    await using both = await certificates();
    const { source: client, destination: server } = both.encryption;
    using image = await TestImage.make({ ram: 64 });
    using opened = await openImage(image.path);
    const guest = new StillGuest();
    await using destination = new Destination({ guest, tls: server });
    const to = await destination.listen(LOOPBACK);
    {
      using context = loadCredentials(client.credentials, "client", {}, () => {});
      using socket = await Socket.connect(to);
      using session = new TlsSession(context, socket.fd, "the destination", "127.0.0.1");
      await shakeHands(ThreadPool.shared, () => session.handshake);
    }
    await until("the refusal", () => destination.refusedConnections.count === 1);
    const { last } = destination.refusedConnections;
    assertStringIncludes(
      last,
      "source at 127.0.0.1 ended the connection right after the handshake",
    );
    await using source = new Source(opened, { to, tls: client });
    await within("the source to complete", source.run());
    await within("the destination to complete", destination.finished);
    image.assertEqualMemory(guest.blocks);
  }),
);

testUnless(
  skip,
  "Destination over TLS tells of every refusal, also of the last of several in a second",
  leavingNoDescriptors(async () => {
    await using both = await certificates();
    await using destination = new Destination({
      guest: new StillGuest(),
      tls: both.encryption.destination,
    });
    const to = await destination.listen(LOOPBACK);
    for (let count = 1; count <= 3; count++) {
      using plain = await Socket.connect(to);
      await plain.sendAll(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
      await plain.receive(new Uint8Array(100)).catch(() => {}); // it is refused
    }
    await until("the refusals", () => destination.refusedConnections.count === 3);
  }),
);

for (const over of ["in clear", "over TLS"] as const) {
  testUnless(
    skip,
    `Destination ${over} turns away hosts that are not allowed, and counts them`,
    leavingNoDescriptors(async () => {
      await using both = await certificates();
      const { source: client, destination: server } = both.encryption;
      const [tls, clientTls] = over === "in clear" ? [{}, {}] : [{ tls: server }, { tls: client }];
      using image = await TestImage.make({ ram: 64 });
      using opened = await openImage(image.path);
      const guest = new StillGuest();
      const allowFrom = ["192.0.2.0/24"];
      await using away = new Destination({ guest: new StillGuest(), ...tls, allowFrom });
      const closed = await away.listen(LOOPBACK);
      await using turned = new Source(opened, { to: closed, ...clientTls, recoverTimeout: 0 });
      const error = await within("the source to fail", turned.run().then(() => {}, (e) => e));
      assertEquals(error instanceof Error, true);
      const { count, last } = away.unallowedConnections;
      assertEquals([count >= 1, last], [true, "127.0.0.1"]);

      await using destination = new Destination({ guest, ...tls, allowFrom: ["127.0.0.0/8"] });
      const to = await destination.listen(LOOPBACK);
      await using source = new Source(opened, { to, ...clientTls });
      await within("the source to complete", source.run());
      await within("the destination to complete", destination.finished);
      image.assertEqualMemory(guest.blocks);
    }),
  );
}
