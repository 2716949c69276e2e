/** A registry of npm whose certificate is of an authority that Deno does not know. */
import "../support/native.ts";
import { assertEquals, assertStringIncludes } from "@std/assert";
import { Authority } from "../../qemu/authority.ts";
import { testUnless } from "../support/skip.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { withConfig } from "./test_daemon.ts";

testUnless(
  needsOpenssl(),
  "postcopy daemon --check says how the host's authorities are trusted where the registry's is none of Deno's",
  () =>
    withConfig(async (directory, config) => {
      await using authority = await Authority.make();
      await authority.issue("registry", { purpose: "serverAuth" });
      await using registry = Deno.serve({
        hostname: "127.0.0.1",
        port: 0,
        cert: await Deno.readTextFile(authority.path("registry-cert.pem")),
        key: await Deno.readTextFile(authority.path("registry-key.pem")),
        onListen: () => {},
      }, () => new Response(null, { status: 404 }));
      const origin = `https://localhost:${registry.addr.port}`;
      const env = {
        DENO_DIR: `${directory}/empty`,
        DENO_TLS_CA_STORE: "mozilla",
        NPM_CONFIG_REGISTRY: `${origin}/`,
        NO_PROXY: "localhost",
        NO_COLOR: "1",
      };
      const main = new URL("../../main.ts", import.meta.url).pathname;
      const args = ["run", "-A", "--no-lock", main, "daemon", "--config", config, "--check"];
      const { code, stderr } = await new Deno.Command(Deno.execPath(), { args, env }).output();
      const errors = new TextDecoder().decode(stderr);
      assertEquals(code, 1, errors);
      assertStringIncludes(errors, `the registry of npm, ${origin}: `);
      assertStringIncludes(
        errors,
        `run once: DENO_DIR=${directory}/empty DENO_TLS_CA_STORE=system postcopy daemon --check, which trusts `,
      );
    }),
);
