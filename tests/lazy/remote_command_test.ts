import "../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { runHere } from "../command/command_lines.ts";
import type { ListenEvent } from "../../server/command/serve_listen_report.ts";
import { needsOpenssl } from "../tls/authority.ts";
import { certificates } from "../tls/credentials.ts";
import { until, within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { ScriptProcess } from "../support/processes.ts";
import { firstOf, testUnless } from "../support/skip.ts";
import { holderOf, LazyProcess } from "./lazy_process.ts";
import { MemoryFile, MIB, needsVmm, TWO_REGIONS, Vmm } from "./vmm.ts";

/** `server/main.ts serve --listen` in a process of its own. */
class ListenProcess extends ScriptProcess {
  constructor(args: readonly string[]) {
    super("server/main.ts", ["serve", ...args]);
  }

  /** Waits for an event of `--json`; fails when it ends without. */
  async event<K extends ListenEvent["event"]>(
    kind: K,
  ): Promise<Extract<ListenEvent, { event: K }>> {
    const found = await this.line(kind, (line) => {
      const event = JSON.parse(line) as ListenEvent;
      return event.event === kind ? event : undefined;
    });
    if (found === undefined) throw new Error((await this.ended).errors);
    return found as Extract<ListenEvent, { event: K }>;
  }
}

testUnless(
  needsVmm,
  "serve --listen that is killed with -9 under load again and again costs lazy --from no fault and no byte",
  async () => {
    using file = new MemoryFile(8 * MIB);
    const server = `unix:${file.directory}/server`;
    const args = [
      ...["--listen", server, "--format", "raw", `vm=${file.path}`, "--order", "off", "--json"],
      ...["--max-postcopy-bandwidth", "256K"],
    ];
    const start = async () => {
      const serve = new ListenProcess(args);
      await serve.event("listening");
      return serve;
    };
    let serve = await start();
    try {
      const from = ["--firecracker", file.socket, "--from", `${server}/vm`];
      await using lazy = await LazyProcess.listening(...from);
      await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
      await using other = await Vmm.start(file.socket, { regions: TWO_REGIONS });
      await vmm.order("run 31 4 1000000000 1");
      await lazy.event("handed-over");
      for (let times = 0; times < 3; times++) {
        serve.kill("SIGKILL");
        await serve.ended;
        await Deno.remove(`${file.directory}/server`); // a killed server leaves it
        serve = await start();
        await serve.event("resumed");
      }
      await vmm.order("stop");
      await vmm.ranRight();
      for (const each of [vmm, other]) {
        await each.check();
      }
    } finally {
      serve.kill("SIGKILL");
      await serve.ended;
    }
  },
);

testUnless(
  needsVmm,
  "lazy --from that is killed with -9 under load is replaced, and the next takes the image from the server anew",
  async () => {
    using file = new MemoryFile(8 * MIB);
    const server = `unix:${file.directory}/server`;
    await using serve = new ListenProcess([
      ...["--listen", server, "--format", "raw", `vm=${file.path}`, "--order", "off", "--json"],
      ...["--max-postcopy-bandwidth", "1M"],
    ]);
    await serve.event("listening");
    await using _held = await LazyProcess.holding(file);
    const from = ["--firecracker", file.socket, "--from", `${server}/vm`];
    const args = [...from, "--held-by", holderOf(file)];
    await using first = await LazyProcess.listening(...args);
    await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
    await vmm.order("run 31 4 1000000000 1");
    await first.event("handed-over");
    first.kill("SIGKILL");
    await first.ended;
    await using next = await LazyProcess.listening(...args);
    await next.event("handed-over");
    await vmm.order("stop");
    await vmm.ranRight();
    await vmm.check();
    assertEquals(serve.lines.filter((line) => line.includes('"begun"')).length, 2);
    await vmm.kill();
  },
);

testUnless(
  needsVmm,
  "serve --listen keeps the order in which VMs of lazy --from touch their memory, and tells both ends' users",
  async () => {
    using file = new MemoryFile(8 * MIB);
    const args = ["--listen", "tcp:127.0.0.1:0", "--format", "raw", file.path, "--record", "3600"];
    await using serve = new ListenProcess(args);
    assert(await serve.says("Serving memory: "));
    const line = serve.errorLines.find((text) => text.startsWith("Listening on "))!;
    const address = line.slice("Listening on ".length);
    {
      await using lazy = new LazyProcess([
        "--firecracker",
        file.socket,
        "--from",
        `${address}/memory`,
      ]);
      assert(await lazy.says(`Listening on ${file.socket}`));
      assert(await serve.says("Client 1, 127.0.0.1: memory"));
      await using vmm = await Vmm.start(file.socket, { regions: TWO_REGIONS });
      for (const page of [1000, 5, 6]) assertEquals(await vmm.touch(page * 4096), "image");
      await vmm.kill();
      assert(await lazy.says(`Process ${vmm.pid} is gone`));
      lazy.kill("SIGTERM");
      assertEquals((await within("its end", lazy.ended)).code, 0);
    }
    assert(
      await serve.says("postcopy: Client 1 does not have all of memory: 3 pages sent, 3 asked for"),
    );
    await until(
      "the order is kept",
      () =>
        [...Deno.readDirSync(file.directory)].some(({ name }) => name === "memory.postcopy-order"),
    );
    serve.kill("SIGTERM");
    assertEquals((await within("its end", serve.ended)).code, 0);
    const show = ["order", "show", `${file.path}.postcopy-order`, "--json"];
    await using shown = new ScriptProcess("server/main.ts", show);
    const { output } = await within("its end", shown.ended);
    const runs = JSON.stringify(JSON.parse(output));
    assert(runs.includes(`${1000 * 4096}`) && runs.includes(`${5 * 4096}`), output);
  },
);

testUnless(
  firstOf(needsVmm, needsOpenssl()),
  "serve --listen serves several images through TLS, and those of QEMU too",
  async () => {
    using file = new MemoryFile(8 * MIB);
    using image = await TestImage.make({ low: 33, high: 31 });
    await using ends = await certificates();
    const { destination: { credentials } } = ends.encryption;
    const tls = ["--tls-creds", credentials];
    const args = ["--listen", "tcp:127.0.0.1:0", image.path, `two=${image.path}`, "--json", ...tls];
    await using serve = new ListenProcess(args);
    const { address, images } = await serve.event("listening");
    assertEquals(images.map(({ name, bytes }) => [name, bytes]), [["image", 262144], [
      "two",
      262144,
    ]]);
    const from = ["--firecracker", file.socket, "--from", `${address}/two`, "--json"];
    {
      await using lazy = new LazyProcess([...from, ...tls]);
      assert(await lazy.event("complete"), "it has all");
      const ended = await serve.event("ended");
      assertEquals([ended.image, ended.complete, ended.pages], ["two", true, 64]);
    }
    // In clear nobody gets anything.
    await using lazy = new LazyProcess(from);
    assertEquals((await within("its end", lazy.ended)).code, 1);
    const refused = await serve.event("refused");
    assertEquals(refused.client, "127.0.0.1");
  },
);

Deno.test("serve --listen and lazy --from say what is missing, or cannot be", async () => {
  using file = new MemoryFile(64 * 4096);
  const listen = ["--listen", "tcp:127.0.0.1:0"];
  const serves: [string[], number, string][] = [
    [listen, 2, "No IMAGE given"],
    [[...listen, file.path, file.path], 2, "Two images of one name: memory"],
    [[...listen, `=${file.path}`], 2, "No name of 1 to 255 bytes"],
    [[...listen, file.path, "--to", "tcp:127.0.0.1:1"], 2, "--to does not go with --listen"],
    [[...listen, file.path, "--warm", "5"], 2, "--warm does not go with --listen"],
    [[...listen, file.path, "--format", "zip"], 2, "Unknown --format: zip"],
    [[...listen, file.path], 3, "needs --format raw"],
    [[...listen, `${file.path}.gone`, "--format", "raw"], 3, "No such image"],
    [[file.path, "--format", "raw", "--to", "tcp:127.0.0.1:1"], 2, "--format goes with --listen"],
    [[...listen, file.path, "--tls-authz", "a"], 2, "--tls-authz without --tls-creds"],
  ];
  for (const [args, code, text] of serves) {
    const end = await runHere("server/main.ts", "serve", ...args);
    assertEquals(end.code, code, end.errors);
    assert(end.errors.includes(text), `${text}: ${end.errors}`);
  }
  await using server = new ListenProcess([...listen, "--format", "raw", file.path, "--json"]);
  const { address } = await server.event("listening");
  const socket = ["--firecracker", file.socket];
  const lazies: [string[], number, string][] = [
    [[...socket, "--from", address], 2, "No image of 1 to 255 bytes named"],
    [[...socket, "--from", `${address}/memory`, "--image", file.path], 2, "Both a file and --from"],
    [[...socket, "--image", file.path, "--lost-after", "5"], 2, "--lost-after goes with --from"],
    [[...socket, "--from", "tcp:127.0.0.1:1/vm"], 1, "ECONNREFUSED"],
    [
      [...socket, "--from", `${address}/vm`],
      1,
      "No image of that name: vm: 1 image is served here",
    ],
  ];
  for (const [args, code, text] of lazies) {
    const end = await runHere("client/main.ts", "lazy", ...args);
    assertEquals(end.code, code, end.errors);
    assert(end.errors.includes(text), `${text}: ${end.errors}`);
  }
});
