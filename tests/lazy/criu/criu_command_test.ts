import "../../support/native.ts";
import { assert, assertEquals } from "@std/assert";
import { runHere } from "../../command/command_lines.ts";
import { within } from "../../support/deadline.ts";
import { freePort } from "../../support/free_port.ts";
import { testUnless } from "../../support/skip.ts";
import { LazyProcess } from "../lazy_process.ts";
import { CriuTask, needsCriu } from "./criu_task.ts";

testUnless(
  needsCriu,
  "lazy --criu serves a tree that a real CRIU restores, and ends when all is there",
  async () => {
    await using task = await CriuTask.start("tree");
    await task.dump();
    await using lazy = new LazyProcess(["--criu", task.images]);
    assert(await lazy.says(`Listening on ${task.images}/lazy-pages.socket`));
    task.go();
    const restoring = await task.restore();
    assert(await lazy.says("CRIU has restored all processes"));
    const { code, left } = await within("its end", lazy.ended);
    assertEquals([code, left], [0, []]);
    assertEquals(await task.result(), "wrong=0 more=6");
    await within("the process's end", restoring.ended);
    assert(!task.has("images/lazy-pages.socket"));
  },
);

testUnless(
  needsCriu,
  "lazy --criu-page-server takes pages from where they were dumped, its socket in CRIU's work directory",
  async () => {
    await using task = await CriuTask.start("memory");
    const port = freePort();
    const dumping = await task.dumpLazily(port);
    const work = `${task.directory}/work`;
    Deno.mkdirSync(work);
    await using lazy = new LazyProcess([
      ...["--criu", task.images, "--criu-work-dir", work, "--json"],
      ...["--criu-page-server", `tcp:127.0.0.1:${port}`],
    ]);
    await lazy.event("listening");
    task.go();
    const restoring = await task.restore("-W", work);
    await lazy.event("restored");
    await lazy.event("filled");
    assertEquals((await within("its end", lazy.ended)).code, 0);
    await within("the dump's end", dumping.ended);
    assertEquals(await task.result(), "wrong=0 more=0");
    await within("the process's end", restoring.ended);
  },
);

testUnless(
  needsCriu,
  "lazy --criu warns at the first Ctrl-C, and leaves a process that gets no zeros at the second",
  async () => {
    await using task = await CriuTask.start("memory");
    await task.dump();
    await using lazy = new LazyProcess(["--criu", task.images, "--no-fill", "--json"]);
    await lazy.event("listening");
    const restoring = await task.restore();
    await lazy.event("restored");
    lazy.kill("SIGINT");
    assert(await lazy.says("Needed by 1 process"));
    lazy.kill("SIGINT");
    assertEquals((await within("its end", lazy.ended)).code, 130);
    task.go();
    await within("the process's end", restoring.ended.catch(() => {}));
    assert(!task.has("result"));
  },
);

Deno.test("lazy --criu says what is missing, or cannot be", async () => {
  const images = Deno.makeTempDirSync({ prefix: "postcopy-criu-command-" });
  try {
    const cases: [string[], number, string][] = [
      [["--criu", ""], 2, "No directory given"],
      [["--criu", images, "--image", "x"], 2, "Not for processes of CRIU: image"],
      [["--criu", images, "more"], 2, "Not for processes of CRIU: more"],
      [["--criu", images, "--dirty", "x"], 2, "Not for processes of CRIU: dirty"],
      [["--criu", images, "--on-loss", "kill"], 2, "so none is killed: --on-loss kill: say poison"],
      [["--criu", images, "--criu-version", "4.2"], 2, "Version of no page server"],
      [
        ["--criu", images, "--criu-version", "5", "--criu-page-server", "tcp:127.0.0.1:1"],
        2,
        "criu-version",
      ],
      [["--criu", images], 1, "Directory without a pagemap-PID.img"],
      [["--criu", `${images}/none`], 1, "Directory that is not there"],
    ];
    for (const [args, code, text] of cases) {
      const end = await runHere("client/main.ts", "lazy", ...args);
      assert(end.errors.includes(text), `${args}: ${end.errors}`);
      assertEquals(end.code, code, end.errors);
    }
  } finally {
    Deno.removeSync(images, { recursive: true });
  }
});
