import { assertEquals, assertInstanceOf, assertStringIncludes, assertThrows } from "@std/assert";
import { type CredentialsOptions, loadCredentials } from "../../channel/tls/credentials.ts";
import type { TlsRole } from "../../ffi/tls/context.ts";
import { TlsError, type TlsErrorCode } from "../../ffi/tls/tls_error.ts";
import { testUnless } from "../support/skip.ts";
import { Authority, type Issue, runOpenssl } from "../../qemu/authority.ts";
import { needsOpenssl } from "./authority.ts";
import { Ends } from "./ends.ts";

const OPENSSL = needsOpenssl();
const HEX = "00112233445566778899aabbccddeeff";

/** Loads credentials that are good; returns what was warned of. */
function warnings(path: string, role: TlsRole, options: CredentialsOptions = {}): string[] {
  const warned: string[] = [];
  loadCredentials(path, role, options, (warning) => warned.push(warning)).close();
  return warned;
}

function refused(
  path: string,
  role: TlsRole,
  code: TlsErrorCode,
  words: readonly string[],
  options: CredentialsOptions = {},
): string {
  const error = assertThrows(() => warnings(path, role, options));
  assertInstanceOf(error, TlsError);
  assertEquals(error.code, code, error.message);
  for (const word of words) assertStringIncludes(error.message, word);
  return error.message;
}

/** An authority that has issued certificates for both ends. */
async function issued(server: Issue = {}, client: Issue = {}): Promise<Authority> {
  const authority = await Authority.make();
  await authority.issue("server", { purpose: "serverAuth", ...server });
  await authority.issue("client", { purpose: "clientAuth", ...client });
  return authority;
}

/** A file of pre-shared keys that only its owner reads. */
class KeyFile implements AsyncDisposable {
  private constructor(readonly directory: string, readonly path: string) {}

  static async write(text: string, mode = 0o600): Promise<KeyFile> {
    const directory = await Deno.makeTempDir();
    const path = `${directory}/keys.psk`;
    await Deno.writeTextFile(path, text);
    await Deno.chmod(path, mode);
    return new KeyFile(directory, path);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.directory, { recursive: true });
  }
}

testUnless(OPENSSL, "loadCredentials makes ends of directories that know each other", async () => {
  await using authority = await issued();
  await authority.writeRevocations();
  const none = (warning: string) => assertEquals(warning, "none");
  using servers = loadCredentials(authority.directory, "server", { authorized: ["client"] }, none);
  using clients = loadCredentials(authority.directory, "client", {}, none);
  using ends = await Ends.connect(clients, servers, "localhost");
  ends.open();
});

testUnless(
  OPENSSL,
  "loadCredentials names a file that is missing, and what it is for",
  async () => {
    await using authority = await issued();
    const { directory } = authority;
    await Deno.remove(authority.path("server-key.pem"));
    refused(directory, "server", "BAD_CREDENTIALS", ["server-key.pem", "private key"]);
    await Deno.remove(authority.path("server-cert.pem"));
    refused(directory, "server", "BAD_CREDENTIALS", ["server-cert.pem", "issue a certificate"]);
    await Deno.remove(authority.path("client-cert.pem"));
    refused(directory, "client", "BAD_CREDENTIALS", ["client-key.pem", "client-cert.pem"]);
    await Deno.remove(authority.path("client-key.pem"));
    assertEquals(warnings(directory, "client"), []);
    await Deno.remove(authority.path("ca-cert.pem"));
    refused(directory, "client", "BAD_CREDENTIALS", ["ca-cert.pem", "keys.psk", directory]);
    refused(`${directory}/none`, "client", "BAD_CREDENTIALS", [`${directory}/none`]);
  },
);

testUnless(OPENSSL, "loadCredentials refuses a file that is not what its name says", async () => {
  await using authority = await issued();
  const [certificate, key] = [authority.path("server-cert.pem"), authority.path("server-key.pem")];
  await Deno.copyFile(authority.path("client-key.pem"), key);
  refused(authority.directory, "server", "BAD_CREDENTIALS", ["not that of the certificate", key]);
  await Deno.copyFile(certificate, key);
  refused(authority.directory, "server", "BAD_CREDENTIALS", ["No private key", key]);
  await runOpenssl(
    "genpkey",
    "-algorithm",
    "EC",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-aes256",
    "-pass",
    "pass:secret",
    "-out",
    key,
  );
  refused(authority.directory, "server", "BAD_CREDENTIALS", ["locked with a password", key]);
  refused(key, "server", "BAD_CREDENTIALS", [key, "the directory with ca-cert.pem"]);
  await Deno.remove(key);
  await Deno.mkdir(key);
  refused(authority.directory, "server", "BAD_CREDENTIALS", ["a directory or device", key]);
  await Deno.writeTextFile(certificate, "no PEM");
  refused(authority.directory, "server", "BAD_CREDENTIALS", ["No certificate", certificate]);
});

testUnless(
  OPENSSL,
  "loadCredentials refuses certificates that the other end would refuse",
  async () => {
    const check = async (issue: Issue, code: TlsErrorCode, word: string) => {
      await using authority = await issued(issue);
      refused(authority.directory, "server", code, [authority.path("server-cert.pem"), word]);
    };
    await check({ to: "20210101000000Z" }, "EXPIRED", "Jan  1 00:00:00 2021");
    await check({ from: "21000101000000Z" }, "NOT_YET_VALID", "clock");
    await check({ purpose: "clientAuth" }, "WRONG_PURPOSE", "serverAuth");
    await check({ authority: true }, "WRONG_PURPOSE", "CA:TRUE");
    await using authority = await issued();
    await using other = await issued();
    await Deno.copyFile(other.path("ca-cert.pem"), authority.path("ca-cert.pem"));
    refused(authority.directory, "client", "UNKNOWN_AUTHORITY", [
      authority.path("client-cert.pem"),
    ]);
  },
);

testUnless(
  OPENSSL,
  "loadCredentials refuses an authority that is none, or has expired",
  async () => {
    await using none = await Authority.make({ extensions: "basicConstraints=CA:FALSE" });
    await none.issue("server");
    refused(none.directory, "server", "UNKNOWN_AUTHORITY", ["CA:TRUE"]);
    await using old = await Authority.make({ to: "20210101000000Z" });
    refused(old.directory, "client", "EXPIRED", ["ca-cert.pem", "2021"]);
    await old.issue("server");
    refused(old.directory, "server", "EXPIRED", ["authority"]);
  },
);

testUnless(OPENSSL, "loadCredentials warns of a private key that others can read", async () => {
  await using authority = await issued();
  const key = authority.path("server-key.pem");
  for (const mode of [0o640, 0o604, 0o644]) {
    await Deno.chmod(key, mode);
    const [warning, ...others] = warnings(authority.directory, "server");
    assertEquals(others, []);
    assertStringIncludes(warning!, `chmod 600 ${key}`);
    assertStringIncludes(warning!, mode.toString(8));
  }
  await Deno.chmod(key, 0o400);
  assertEquals(warnings(authority.directory, "server"), []);
});

Deno.test("loadCredentials takes pre-shared keys from a file, and from a directory", async () => {
  await using file = await KeyFile.write(
    `# made by hand\n\nqemu:${HEX}${HEX}\r\n#c3a96e:${HEX}\nqemu:${HEX}\nwith:colon:${HEX}`,
  );
  const none = (warning: string) => assertEquals(warning, "none");
  for (const path of [file.path, file.directory]) {
    using servers = loadCredentials(path, "server", {}, none);
    for (const username of [undefined, "én", "with:colon"]) {
      const options = username === undefined ? {} : { username };
      using clients = loadCredentials(path, "client", options, none);
      using ends = await Ends.connect(clients, servers);
      ends.open();
    }
  }
});

Deno.test("loadCredentials names the line that is no pre-shared key, and never shows a key", async () => {
  const words = ["line 2", "keys.psk"];
  for (const line of [HEX, `qemu:${HEX}0`, `qemu:${HEX}zz`, "qemu:", `:${HEX}`]) {
    await using file = await KeyFile.write(`other:${HEX}\n${line}\n`);
    const message = refused(file.path, "server", "BAD_CREDENTIALS", words);
    assertEquals(message.includes(HEX), false);
  }
  await using empty = await KeyFile.write("\n# none\n");
  refused(empty.path, "server", "BAD_CREDENTIALS", ["No pre-shared key", "openssl rand -hex 32"]);
  await using file = await KeyFile.write(`other:${HEX}\nthird:${HEX}\n`);
  const message = refused(file.path, "client", "BAD_CREDENTIALS", ["qemu", "other, third"]);
  assertEquals(message.includes(HEX), false);
});

Deno.test("loadCredentials warns of pre-shared keys that others can read, or that are short", async () => {
  await using open = await KeyFile.write(`qemu:${HEX}\n`, 0o644);
  assertStringIncludes(warnings(open.path, "client")[0]!, `chmod 600 ${open.path}`);
  await using short = await KeyFile.write("qemu:0011\n");
  assertStringIncludes(warnings(short.path, "server")[0]!, "2 bytes");
});

Deno.test("loadCredentials refuses options that would be passed over", async () => {
  await using file = await KeyFile.write(`qemu:${HEX}\n`);
  const bad = (role: TlsRole, options: CredentialsOptions, word: string) =>
    refused(file.path, role, "BAD_CREDENTIALS", [word], options);
  bad("server", { authorized: ["x"] }, "pre-shared keys");
  bad("server", { verifyPeer: false }, "pre-shared keys");
  bad("client", { authorized: ["x"] }, "--tls-hostname");
  bad("server", { authorized: ["x"], verifyPeer: false }, "--tls-authz");
  bad("server", { username: "qemu" }, "--tls-username");
});
