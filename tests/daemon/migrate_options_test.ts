/** What `migrate` asks the daemon for. */
import { assertEquals, assertThrows } from "@std/assert";
import {
  RECEIVE_OPTIONS,
  receiveRequest,
  SEND_OPTIONS,
  sendRequest,
} from "../../daemon/command/migrate_options.ts";
import { incomingRequest, outgoingRequest } from "../../daemon/service/requests.ts";
import { parseCommand, UsageError } from "../../migration/command/arguments.ts";

const to = ["--to", "tcp:192.0.2.1:4444"];

function sent(...args: string[]) {
  return sendRequest("vm", parseCommand([...to, ...args], SEND_OPTIONS).values);
}

function received(...args: string[]) {
  const all = ["--listen", "tcp::4444", ...args];
  return receiveRequest("vm", parseCommand(all, RECEIVE_OPTIONS).values);
}

Deno.test("migrate asks only for what was said: the daemon's configuration says the rest", () => {
  assertEquals(sent(), { direction: "outgoing", image: "vm", to: "tcp:192.0.2.1:4444" });
  assertEquals(received(), { direction: "incoming", image: "vm", listen: "tcp::4444" });
});

Deno.test("migrate --to asks for each of its options in the words of the daemon, which takes them", () => {
  const plain = sent(
    ...["--mode", "preempt", "--max-postcopy-bandwidth", "1M", "--stall-timeout", "5"],
    ...[
      "--recover-timeout",
      "60",
      "--spin",
      "7",
      "--compress",
      "zstd",
      "--warm",
      "9",
      "--record",
      "2",
    ],
    ...["--offset", "4K", "--huge-pages", "pc.ram=1G,vga.vram", "--switchover-ack"],
    ...["--switchover-ack-legacy", "off", "--tls-creds", "pki", "--tls-hostname", "h", "--recover"],
  );
  assertEquals(outgoingRequest.parse(plain), plain);
  const expected = {
    mode: "preempt",
    maxPostcopyBandwidth: 1 << 20,
    stallTimeout: 5000,
    recoverTimeout: 60_000,
    spin: 7,
    warm: 9,
    holdBack: 2000,
    offset: 4096,
    hugePages: ["pc.ram=1G", "vga.vram"],
    switchoverAck: true,
    switchoverAckLegacy: false,
    tls: { credentials: "pki", hostname: "h" },
    recover: true,
  };
  for (const [key, value] of Object.entries(expected)) assertEquals(plain[key], value, key);
  const multifd = sent(
    ...["--multifd-channels", "4", "--multifd-compression", "zstd", "--postcopy-after", "3"],
    ...["--order", "off", "--start-anew"],
  );
  assertEquals(outgoingRequest.parse(multifd), multifd);
  assertEquals([multifd["postcopyAfter"], multifd["startAnew"]], [3000, true]);
});

Deno.test("migrate --listen asks for each of its options in the words of the daemon, which takes them", () => {
  const all = received(
    ...["--overwrite", "--recover", "vm.partial-1", "--decompress-threads", "3", "--multifd", "2"],
    ...["--switchover-ack", "--allow-from", "192.0.2.0/24", "--stall-timeout", "5"],
    ...["--tls-creds", "pki", "--tls-authz", "CN=a;CN=b", "--tls-verify-peer", "on"],
  );
  assertEquals(incomingRequest.parse(all), all);
  assertEquals(all, {
    direction: "incoming",
    image: "vm",
    listen: "tcp::4444",
    recover: "vm.partial-1",
    overwrite: true,
    decompressThreads: 3,
    multifdChannels: 2,
    switchoverAck: true,
    stallTimeout: 5000,
    allowFrom: ["192.0.2.0/24"],
    tls: { credentials: "pki", authorized: ["CN=a", "CN=b"], verifyPeer: true },
  });
});

Deno.test("migrate refuses what goes against itself, before the daemon is asked", () => {
  assertThrows(() => sent("--recover", "--start-anew"), UsageError, "leave the other out");
  assertThrows(() => sent("--order", "a.order"), UsageError, "Unknown --order");
  assertThrows(() => sent("--huge-pages", "a,a"), UsageError, "named twice");
});
