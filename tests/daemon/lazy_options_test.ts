/** What `migrate --firecracker` and `migrate --criu` ask the daemon for. */
import { assertEquals, assertThrows } from "@std/assert";
import {
  FIRECRACKER_OPTIONS,
  firecrackerRequest,
  TREE_OPTIONS,
  treeRequest,
} from "../../daemon/command/lazy_options.ts";
import * as requests from "../../daemon/service/requests.ts";
import { parseCommand, UsageError } from "../../migration/command/arguments.ts";

function served(...args: string[]) {
  const all = ["--firecracker", "vm.sock", ...args];
  const { values, positionals: [image] } = parseCommand(all, FIRECRACKER_OPTIONS);
  return firecrackerRequest(image, values);
}

function tree(...args: string[]) {
  return treeRequest(parseCommand(["--criu", "web-1", ...args], TREE_OPTIONS).values);
}

Deno.test("migrate of memory asks only for what was said: the daemon's configuration says the rest", () => {
  assertEquals(served("vm.mem"), { kind: "firecracker", socket: "vm.sock", image: "vm.mem" });
  assertEquals(tree(), { kind: "criu", images: "web-1" });
});

Deno.test("migrate --firecracker asks for each of its options in the words of the daemon, which takes them", () => {
  const file = served(
    ...["vm.mem", "--format", "image", "--order", "off", "--record", "--on-loss", "kill"],
    ...["--no-fill", "--dirty", "--held-by", "holder.sock"],
  );
  assertEquals(requests.firecrackerRequest.parse(file), file);
  assertEquals(file, {
    kind: "firecracker",
    socket: "vm.sock",
    image: "vm.mem",
    format: "image",
    order: "off",
    record: true,
    onLoss: "kill",
    fill: false,
    dirty: true,
    holder: "holder.sock",
  });
  const remote = served(
    ...["--from", "tcp:192.0.2.7:4445/vm", "--lost-after", "3", "--stall-timeout", "5"],
    ...["--tls-creds", "pki", "--tls-hostname", "h", "--tls-verify-peer", "off"],
  );
  assertEquals(requests.firecrackerRequest.parse(remote), remote);
  assertEquals(remote, {
    kind: "firecracker",
    socket: "vm.sock",
    from: "tcp:192.0.2.7:4445/vm",
    lostAfter: 3000,
    stallTimeout: 5000,
    tls: { credentials: "pki", hostname: "h", verifyPeer: false },
  });
});

Deno.test("migrate --criu asks for each of its options in the words of the daemon, which takes them", () => {
  const all = tree(
    ...["--criu-work-dir", "work", "--criu-page-server", "tcp:192.0.2.7:27", "--criu-version"],
    ...["4.2", "--on-loss", "poison", "--no-fill", "--held-by", "criu.holder"],
  );
  assertEquals(requests.criuRequest.parse(all), all);
  assertEquals(all, {
    kind: "criu",
    images: "web-1",
    workDirectory: "work",
    pageServer: "tcp:192.0.2.7:27",
    criuVersion: "4.2",
    onLoss: "poison",
    fill: false,
    holder: "criu.holder",
  });
});

Deno.test("migrate of memory refuses what goes against itself, before the daemon is asked", () => {
  const from = ["--from", "tcp:192.0.2.7:4445/vm"];
  assertThrows(() => served(), UsageError, "a name that postcopy images lists");
  assertThrows(() => served("vm.mem", ...from), UsageError, "Both a file and --from");
  assertThrows(() => served(...from, "--record"), UsageError, "is kept there");
  assertThrows(() => served("vm.mem", "--order", "a.order"), UsageError, "Unknown --order");
  assertThrows(() => served("vm.mem", "--held-by", "systemd"), UsageError, "name its socket");
  assertThrows(() => served("vm.mem", "--tls-hostname", "h"), UsageError, "--tls-creds");
  assertThrows(() => tree("--held-by", "systemd"), UsageError, "name its socket");
  assertThrows(() => tree("--on-loss", "kill"), UsageError, "so none is killed");
  assertThrows(() => tree("--criu-version", "4.2"), UsageError, "Version of no page server");
});
