import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { inNamespaces, needsNamespaces } from "../support/namespaces.ts";
import { testUnless } from "../support/skip.ts";
import type { SeveralReport } from "./several_addresses.ts";

const HOSTS = [
  "127.0.0.2 several.test",
  "192.0.2.1 several.test",
  "127.0.0.3 several.test",
  "192.0.2.1 elsewhere.test",
  "127.0.0.4 elsewhere.test",
];

testUnless(
  needsNamespaces(),
  "Socket and Listener try each address of a host name in its turn, and tell what each said",
  async () => {
    const hosts = await Deno.makeTempFile();
    try {
      await Deno.writeTextFile(hosts, HOSTS.join("\n") + "\n");
      const report = await inNamespaces<SeveralReport>(
        "tests/ffi/several_addresses.ts",
        `mount --bind ${hosts} /etc/hosts`,
      );
      // The order is the resolver's, which has rules of its own.
      const { nobody, ...others } = report;
      const [, each, advice] = /\((.*)\): (.*)$/.exec(nobody)!;
      assertEquals(each!.split(", ").sort(), [
        "tcp:127.0.0.2:PORT: ECONNREFUSED",
        "tcp:127.0.0.3:PORT: ECONNREFUSED",
        "tcp:192.0.2.1:PORT: ENETUNREACH",
      ]);
      assertEquals(advice, "see that the destination listens at one of them and is reachable");
      assertEquals(others, {
        last: "tcp:127.0.0.3:PORT",
        peer: "tcp:several.test:PORT",
        own: "tcp:127.0.0.4:PORT",
      });
    } finally {
      await Deno.remove(hosts);
    }
  },
);
