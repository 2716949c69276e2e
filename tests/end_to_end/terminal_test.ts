/** A terminal that is closed, as a lost login closes it, while a guest needs what runs there. */
import "../support/native.ts";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { until, within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { skipReason, testUnless } from "../support/skip.ts";

const MAIN = new URL("../../server/main.ts", import.meta.url).pathname;

/** Whether `script`, of util-linux, is there: it gives a command a terminal of its own. */
async function hasScript(): Promise<boolean> {
  try {
    return (await new Deno.Command("script", { args: ["--version"] }).output()).success;
  } catch {
    return false;
  }
}

testUnless(
  await hasScript() ? undefined : skipReason("missing package", "util-linux has script"),
  "serve goes on when its terminal is closed while the guest runs",
  async () => {
    using image = await TestImage.make({ ram: 4096 });
    using destination = await HostileDestination.listen();
    const to = formatSocketAddress(destination.address);
    const serve = [Deno.execPath(), "run", "-A", MAIN, "serve", image.path, "--to", to].join(" ");
    const terminal = new Deno.Command("script", {
      args: ["-q", "-c", serve, "/dev/null"],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    try {
      await within("pages", destination.play("pages"));
    } finally {
      terminal.kill("SIGKILL"); // the terminal is gone with it
      await terminal.status;
    }
    await within("the rest of the pages", destination.play("end"));
    destination.say.shut(0);
    await destination.send(destination.say.take());
    await within("serve to end", destination.play());
    // Nobody can wait for the process any more: what it does last is to take its mark away.
    await until("the mark to be gone", () => image.marks.length === 0);
    image.assertUntouched();
  },
);
