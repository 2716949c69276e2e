/** A serve that is killed while its guest runs leaves a mark, and the next one does not end the guest. */
import "../support/native.ts";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { formatSocketAddress } from "../../ffi/socket_address.ts";
import { HostileDestination } from "../hostile/scripted_destination.ts";
import { within } from "../support/deadline.ts";
import { TestImage } from "../support/images.ts";
import { ServeProcess, WorkloadProcess } from "../support/processes.ts";
import { guestRuns } from "./killed.ts";

const REFUSED = 5;
/** A background stream that leaves almost everything to be asked for. */
const SLOW = ["--max-postcopy-bandwidth", "1"];

/** Serves where that must be refused; what it says. */
async function refused(image: TestImage, to: string, ...args: string[]): Promise<string> {
  await using serve = new ServeProcess(image.path, to, args);
  const { code, output, errors } = await within("serve to be refused", serve.ended);
  assertEquals({ code, output }, { code: REFUSED, output: "" }, errors);
  return errors;
}

/** Arguments of the command that a refusal names, behind `serve`. */
function advised(errors: string, image: TestImage): [to: string, ...args: string[]] {
  const [, words = ""] = /^ {2}deno run -A server\/main\.ts serve (.*)$/m.exec(errors) ?? [];
  const [path, flag, to, json, ...args] = words.split(" ");
  assertEquals([path, flag, json, ...args], [image.path, "--to", "--json", "--recover"], errors);
  return [to!, ...args];
}

Deno.test("serve refuses a guest that was left paused, and what it names instead completes it", async () => {
  using image = await TestImage.make({ ram: 3000, rom: 96 });
  await using destination = new WorkloadProcess("tcp:127.0.0.1:0", [
    ...["--write", "--threads", "2", "--rate", "100"],
  ]);
  const to = await destination.address();
  await using first = new ServeProcess(image.path, to, SLOW);
  await guestRuns(destination);
  image.assertUntouched(1);
  await refused(image, to, "--recover"); // the first still runs
  first.kill("SIGKILL");
  const isPaused = ({ event }: { event: string }) => event === "paused";
  assert(await destination.event("the pause", isPaused));

  const errors = await refused(image, to);
  assertMatch(errors, new RegExp(`^postcopy: .*it was handed over to ${to} at 2`, "m"));
  const said = destination.lines.map((line) => JSON.parse(line).event);
  assert(!said.includes("sent-away") && !said.includes("result"), "It was touched");
  assertEquals(destination.last("progress")?.destination.status === "failed", false);
  image.assertUntouched(1);

  const [again, ...args] = advised(errors, image);
  await using second = new ServeProcess(image.path, again, args);
  assertEquals((await second.statistics()).status, "completed");
  const { code, errors: wrong } = await within("the workload to end", destination.ended);
  assertEquals({ code, wrong }, { code: 0, wrong: "" });
  assertEquals(destination.last("result")?.check, { pages: image.pages, wrongPages: 0 });
  assertEquals(destination.last("result")?.workload.failures, []);
  image.assertUntouched();
});

Deno.test("serve has its mark when the destination is told to run the guest, and leaves it when killed", async () => {
  using image = await TestImage.make({ ram: 4096 });
  using destination = await HostileDestination.listen({ receiveBuffer: 4096 });
  const to = formatSocketAddress(destination.address);
  await using serve = new ServeProcess(image.path, to);
  await within("RUN", destination.play("package"));
  image.assertUntouched(1);
  serve.kill("SIGKILL");
  await within("serve to end", serve.ended);
  image.assertUntouched(1);
  await refused(image, to);
});

Deno.test("serve --start-anew starts a guest that is gone, and leaves no mark when it is complete", async () => {
  using image = await TestImage.make({ ram: 512 });
  let to: string;
  {
    await using gone = new WorkloadProcess("tcp:127.0.0.1:0", ["--threads", "1", "--rate", "100"]);
    to = await gone.address();
    await using serve = new ServeProcess(image.path, to, SLOW);
    await guestRuns(gone);
    serve.kill("SIGKILL");
    await serve.ended;
  }
  await using destination = new WorkloadProcess(to, ["--until-touched"]);
  assertEquals(await destination.address(), to);
  await refused(image, to);
  await using serve = new ServeProcess(image.path, to, ["--start-anew"]);
  await serve.statistics();
  await within("the workload to end", destination.ended);
  assertEquals(destination.last("result")?.check, { pages: image.pages, wrongPages: 0 });
  image.assertUntouched();
});

Deno.test("serve refuses --recover together with --start-anew", async () => {
  using image = await TestImage.make({ ram: 16 });
  const args = ["--recover", "--start-anew"];
  await using serve = new ServeProcess(image.path, "tcp:127.0.0.1:1", args);
  const { code, errors } = await within("serve to end", serve.ended);
  assertEquals(code, 2);
  assertMatch(errors, /^postcopy: Both --recover and --start-anew given/);
});
