import { assertEquals, assertMatch } from "@std/assert";
import { Listener } from "../../ffi/listener.ts";
import { TlsSession } from "../../ffi/tls/session.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { within } from "../support/deadline.ts";
import { LOOPBACK } from "../support/migrate.ts";
import { testUnless } from "../support/skip.ts";
import { Authority } from "../../qemu/authority.ts";
import { needsOpenssl } from "./authority.ts";
import { context, readOnce, shakeHands } from "./ends.ts";

/** What a server of ours makes of a client that is the openssl command. */
async function serveCommand(version: string, said: string): Promise<string> {
  await using authority = await Authority.make();
  await authority.issue("server");
  await authority.issue("client");
  using servers = context("server", authority, { certificate: "server" });
  using listener = await Listener.listen(LOOPBACK);
  const { address } = listener;
  if (address.transport !== "tcp") throw new Error("not tcp");
  const files = ["-cert", "client-cert.pem", "-key", "client-key.pem", "-CAfile", "ca-cert.pem"];
  const to = [
    "-connect",
    `127.0.0.1:${address.port}`,
    "-quiet",
    "-no_ign_eof",
    "-verify_return_error",
  ];
  const child = new Deno.Command("openssl", {
    args: ["s_client", version, "-cipher", "DEFAULT:@SECLEVEL=0", ...files, ...to],
    cwd: authority.directory,
    stdin: "piped",
    stdout: "null",
    stderr: "null",
  }).spawn();
  try {
    const writer = child.stdin.getWriter();
    await writer.write(new TextEncoder().encode(said));
    await writer.close();
    using socket = await within("openssl connects", listener.accept());
    using session = new TlsSession(servers, socket.fd, socket.peer);
    const stream = shakeHands(session);
    const bytes = new Uint8Array(65_536);
    let text = `${stream.cipher}: `;
    for (let count; (count = readOnce(stream, bytes)) !== 0;) {
      if (count < 0) return text + stream.error!.message;
      text += new TextDecoder().decode(bytes.subarray(0, count));
    }
    return text;
  } finally {
    try {
      child.kill("SIGKILL");
    } catch {
      // it has ended
    }
    await child.status;
  }
}

testUnless(
  needsOpenssl(),
  "a client that speaks no more than TLS 1.2 is served, and one of TLS 1.1 told why not",
  leavingNoDescriptors(async () => {
    const spoken = await serveCommand("-tls1_2", "pages\n");
    assertEquals(spoken, "TLSv1.2 ECDHE-ECDSA-AES256-GCM-SHA384: pages\n");
    const refusal = await serveCommand("-tls1_1", "pages\n").catch((error) => error);
    assertEquals(refusal.code, "NOT_TLS", refusal.message);
    assertMatch(refusal.message, /no version of TLS/);
  }),
);
