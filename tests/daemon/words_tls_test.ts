/** The words that talk to a daemon on another host: TLS, a token, and what is said without them. */
import "../support/native.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Authority } from "../../qemu/authority.ts";
import { run } from "../command/command_lines.ts";
import { TestImage } from "../support/images.ts";
import { testUnless } from "../support/skip.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { DaemonPlace } from "./daemon_process.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";

testUnless(
  await needsOpenssl(),
  "words ask a daemon over TLS with its token, and say what lacks when it is not so",
  async () => {
    await using authority = await Authority.make();
    await authority.issue("server", { purpose: "serverAuth" });
    using image = await TestImage.make({ ram: 64 });
    await using place = new DaemonPlace();
    const token = `${place.directory}/token`;
    await Deno.writeTextFile(token, `${TOKEN}\n`, { mode: 0o600 });
    const wrong = `${place.directory}/wrong`;
    await Deno.writeTextFile(wrong, `${TOKEN}0\n`, { mode: 0o600 });
    place.configure({ vm: image.path }, {
      api: {
        tcp: {
          listen: "tcp:127.0.0.1:0",
          tokenFile: token,
          tls: { cert: authority.path("server-cert.pem"), key: authority.path("server-key.pem") },
        },
      },
    });
    const daemon = await place.start();
    const addresses = daemon.log.flatMap(({ properties }) => {
      const { address } = properties as { address?: string };
      return address?.startsWith("tcp:") ? [address] : [];
    });
    const url = `https://${addresses[0]!.slice("tcp:".length)}`;
    const images = (...more: string[]) => run("main.ts", "images", "--daemon", url, ...more);
    const ca = ["--ca", authority.path("ca-cert.pem")];
    const [right, strange, tokenless, refused, absent] = await Promise.all([
      images(...ca, "--token-file", token),
      images("--token-file", token),
      images(...ca),
      images(...ca, "--token-file", wrong),
      images(...ca, "--token-file", `${place.directory}/none`),
    ]);
    assertEquals(right.code, 0, right.errors);
    assertStringIncludes(right.output, "vm");
    assertEquals(strange.code, 6, strange.errors);
    assertStringIncludes(strange.errors, "name the authority that made it with --ca FILE");
    assertEquals(tokenless.code, 1, tokenless.errors);
    assertStringIncludes(tokenless.errors, "--token-file");
    assertEquals(refused.code, 1, refused.errors);
    assertStringIncludes(refused.errors, "--token-file");
    assertEquals(absent.code, 2, absent.errors);
    assertStringIncludes(absent.errors, "File after --token-file cannot be read");
    // Nobody's token is said.
    for (const { errors } of [right, strange, tokenless, refused]) {
      assertEquals(errors.includes(TOKEN), false);
    }
  },
);
