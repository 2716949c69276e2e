/** Where a daemon listens, and what is said when none does. */
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { noDaemon } from "../../daemon/command/api_error.ts";
import {
  formatDaemonAddress,
  originOf,
  parseDaemonAddress,
} from "../../daemon/command/daemon_address.ts";
import { UsageError } from "../../migration/command/arguments.ts";

Deno.test("parseDaemonAddress reads sockets, and TCP with TLS unless it is said otherwise", () => {
  const found = [
    "unix:/run/postcopy/daemon.sock",
    "unix:///run/x.sock",
    "/run/x.sock",
    "unix:x.sock",
    "tcp:host:8443",
    "https://host:8443",
    "https://[::1]:8443/",
    "http://127.0.0.1:8080",
  ].map((text) =>
    originOf(parseDaemonAddress(text)) + formatDaemonAddress(parseDaemonAddress(text))
  );
  assertEquals(found, [
    "http://localhostunix:/run/postcopy/daemon.sock",
    "http://localhostunix:/run/x.sock",
    "http://localhostunix:/run/x.sock",
    "http://localhostunix:x.sock",
    "https://host:8443https://host:8443",
    "https://host:8443https://host:8443",
    "https://[::1]:8443https://[::1]:8443",
    "http://127.0.0.1:8080http://127.0.0.1:8080",
  ]);
});

Deno.test("parseDaemonAddress refuses what is none, and says what to write", () => {
  for (
    const text of ["", "host", "host:1", "https://host", "tcp:host:99999", "unix:", "ftp://a:1"]
  ) {
    const { message } = assertThrows(() => parseDaemonAddress(text), UsageError);
    assertStringIncludes(message, `${text}: write unix:PATH`);
  }
});

Deno.test("noDaemon says what to do by what the connection failed of", () => {
  const socket = { transport: "unix", path: "/run/a.sock" } as const;
  const failed = (text: string) =>
    noDaemon(socket, new TypeError("error sending request", { cause: new Error(text) })).message;
  assertStringIncludes(
    failed("No such file or directory (os error 2)"),
    "systemctl start postcopy",
  );
  assertStringIncludes(
    failed("Connection refused (os error 111)"),
    "goes on by itself at its next start",
  );
  assertStringIncludes(failed("Permission denied (os error 13)"), "of the group");
  assertStringIncludes(failed("invalid peer certificate: UnknownIssuer"), "--ca FILE");
  assertStringIncludes(failed("something else"), "something else: see that it runs");
});
