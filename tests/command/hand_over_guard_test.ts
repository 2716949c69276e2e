/** Who serves an image whose guest was handed over before is told so before anything is sent. */
import "../support/native.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { parseSocketAddress } from "../../ffi/socket_address.ts";
import { openImage } from "../../image/open_image.ts";
import { HandOverGuard, type Intent } from "../../server/command/hand_over_guard.ts";
import { HandedOverError } from "../../server/command/hand_over_text.ts";
import { leavingNoDescriptors } from "../support/descriptors.ts";
import { TestImage } from "../support/images.ts";
import { replacing } from "../support/replacing.ts";

const BLOCKS = { ram: 16 };
const TO = "tcp:127.0.0.1:4444";
const COMMAND = "postcopy serve vm.img --to there";

/** Looks as a `serve` does. */
async function look(
  path: string,
  to: string = TO,
  intent: Intent = "start",
  session?: string,
): Promise<HandOverGuard> {
  using image = await openImage(path);
  return await HandOverGuard.look(image, parseSocketAddress(to), intent, COMMAND, session);
}

/** Leaves a mark as a `serve` does that is killed once the guest may run. */
async function leave(path: string, to: string = TO, intent: Intent = "start"): Promise<void> {
  using guard = await look(path, to, intent);
  assertEquals(await guard.keep(), []);
}

/** What lies beside an image that the image does not need. */
function marks(path: string): string[] {
  const directory = path.slice(0, path.lastIndexOf("/"));
  const names = [...Deno.readDirSync(directory)].map(({ name }) => name);
  return names.filter((name) => name.includes(".postcopy-"));
}

function guards(name: string, run: (image: TestImage) => Promise<void>): void {
  Deno.test(
    name,
    leavingNoDescriptors(async () => {
      using image = await TestImage.make(BLOCKS);
      await run(image);
    }),
  );
}

guards(
  "HandOverGuard refuses to start a guest that was left, and names what goes on with it",
  async ({ path }) => {
    await leave(path);
    const error = await assertRejects(() => look(path), HandedOverError);
    assertMatch(error.message, /handed over to tcp:127\.0\.0\.1:4444 at 20\d\d-\d\d-\d\dT/);
    assertStringIncludes(error.message, `\n  ${COMMAND} --recover\n`);
    assertStringIncludes(error.message, "--start-anew");
    assertStringIncludes(error.message, marks(path)[0]!);
    assertEquals(marks(path).length, 1);
  },
);

/** Of 4444 there are other names, and what is paused there may have been told to listen at another port. */
const SAME = ["tcp::4444", "tcp:localhost:4444", "tcp:127.0.0.1:4445"];
for (const to of SAME) {
  guards(`HandOverGuard takes ${to} for the host of ${TO}`, async ({ path }) => {
    await leave(path);
    await assertRejects(() => look(path, to), HandedOverError);
  });
}

guards("HandOverGuard takes forms of one IPv6 address for one host", async ({ path }) => {
  await leave(path, "tcp:[fd00::1]:4444");
  await assertRejects(() => look(path, "tcp:[FD00:0::0:1]:4444"), HandedOverError);
});

guards("HandOverGuard takes a socket's relative name for its absolute one", async ({ path }) => {
  await leave(path, "unix:guest.socket");
  await assertRejects(() => look(path, `unix:${Deno.cwd()}/guest.socket`), HandedOverError);
});

guards(
  "HandOverGuard starts another guest on another host, and says where one was left",
  async ({ path }) => {
    await leave(path);
    await leave(path, "tcp:127.0.0.2:4444");
    using guard = await look(path, "tcp:127.0.0.3:4444");
    const [note, ...more] = guard.notes;
    assertEquals(more, []);
    for (const to of ["tcp:127.0.0.1:4444 at 2", "tcp:127.0.0.2:4444 at 2"]) {
      assertStringIncludes(note!, to);
    }
  },
);

guards(
  "HandOverGuard advises whoever finds a daemon's session to leave the daemon alone",
  async ({ path }) => {
    using guard = await look(path, TO, "start", "ab12");
    assertEquals(await guard.keep(), []);
    const mark = `${path.slice(0, path.lastIndexOf("/"))}/${marks(path)[0]}`;
    assertMatch(JSON.parse(await Deno.readTextFile(mark)).note, /: see .*postcopy recover ab12$/);
    for (const [session, again] of [[undefined, "serve"], ["cd34", "migrate"]] as const) {
      const serving = await assertRejects(
        () => look(path, TO, "recover", session),
        HandedOverError,
      );
      assertStringIncludes(serving.message, "by itself, or by postcopy recover ab12; ");
      const end = `end it first (postcopy cancel ab12 --force), then postcopy ${again} --recover`;
      assertStringIncludes(serving.message, end);
      assert(!/kill/.test(serving.message), serving.message);
    }
  },
);

guards(
  "HandOverGuard names the daemon's session that was left, before what goes on without it",
  async ({ path }) => {
    {
      using left = await look(path, TO, "start", "ab12");
      await left.keep();
    }
    const { message } = await assertRejects(() => look(path), HandedOverError);
    const lines = message.split("\n").filter((line) => line.startsWith("  "));
    assertEquals(lines, ["  postcopy recover ab12 --to ADDRESS", `  ${COMMAND} --recover`]);
    using guard = await look(path, "tcp:127.0.0.2:4444", "start", "cd34");
    const [note = ""] = guard.notes;
    assertStringIncludes(note, "of a daemon's session: postcopy recover ab12 --to ADDRESS)");
    assertStringIncludes(note, "it needs postcopy migrate --recover;");
    assert(!/serve/.test(note), note);
  },
);

guards("HandOverGuard lets several serve one image at once, and says nothing", async ({ path }) => {
  const destinations = [TO, "tcp:127.0.0.1:4445", "tcp:127.0.0.2:4444"];
  using stack = new DisposableStack();
  const serving: HandOverGuard[] = [];
  for (const to of destinations) {
    const guard = stack.use(await look(path, to));
    assertEquals([...guard.notes, ...await guard.keep()], []);
    serving.push(guard);
  }
  assertEquals(marks(path).length, 3);
  for (const guard of serving) assertEquals(await guard.completed(), []);
  assertEquals(marks(path), []);
});

for (const intent of ["start", "recover", "start-anew"] as const) {
  guards(
    `HandOverGuard refuses to ${intent} a guest that another process serves there`,
    async ({ path }) => {
      using guard = await look(path);
      await guard.keep();
      const error = await assertRejects(() => look(path, TO, intent), HandedOverError);
      assertStringIncludes(error.message, `process ${Deno.pid}`);
    },
  );
}

guards(
  "HandOverGuard knows an image that was copied, renamed back and touched",
  async ({ path }) => {
    await leave(path);
    await Deno.copyFile(path, `${path}.copy`);
    await Deno.rename(`${path}.copy`, path);
    await Deno.utime(path, 1, 1);
    await assertRejects(() => look(path), HandedOverError);
  },
);

guards("HandOverGuard knows an image by a link to it", async ({ path }) => {
  await leave(path);
  const elsewhere = await Deno.makeTempDir();
  try {
    const link = `${elsewhere}/image`;
    for (const suffix of [".json", ".devices"]) await Deno.symlink(path + suffix, link + suffix);
    await Deno.symlink(path, link);
    await assertRejects(() => look(link), HandedOverError);
  } finally {
    await Deno.remove(elsewhere, { recursive: true });
  }
});

guards(
  "HandOverGuard starts another save of that name, and says what was there before",
  async ({ path }) => {
    await leave(path);
    using other = await TestImage.make({ ram: 32 });
    for (const suffix of ["", ".json", ".devices"]) {
      await Deno.copyFile(other.path + suffix, path + suffix);
    }
    using guard = await look(path);
    assertMatch(guard.notes.join("\n"), /^Another save of this name was handed over there before/);
    assertEquals(await guard.keep(), []);
    assertEquals(marks(path).length, 1);
  },
);

guards("HandOverGuard takes a mark that never was whole for no hand-over", async ({ path }) => {
  await leave(path);
  const mark = `${path.slice(0, path.lastIndexOf("/"))}/${marks(path)[0]}`;
  const whole = await Deno.readTextFile(mark);
  for (const text of ["", whole.slice(0, 40), "{}", "[1]"]) {
    await Deno.writeTextFile(mark, text);
    using guard = await look(path);
    assertEquals(guard.notes, []);
  }
});

guards(
  "HandOverGuard that starts anew leaves only its own mark, once it has one",
  async ({ path }) => {
    await leave(path);
    const [before] = marks(path);
    using guard = await look(path, TO, "start-anew");
    assertEquals(marks(path), [before]);
    assertEquals(await guard.keep(), []);
    assertEquals(marks(path).length, 1);
    assert(marks(path)[0] !== before);
    assertEquals(await guard.completed(), []);
    assertEquals(marks(path), []);
  },
);

guards("HandOverGuard that starts anew leaves the mark of another guest", async ({ path }) => {
  await leave(path);
  const before = marks(path);
  using guard = await look(path, "tcp:127.0.0.1:4445", "start-anew");
  await guard.keep();
  await guard.completed();
  assertEquals(marks(path), before);
});

guards("HandOverGuard of a guest that ran nowhere removes its own mark alone", async ({ path }) => {
  await leave(path, "tcp:127.0.0.2:4444");
  const before = marks(path);
  using guard = await look(path);
  assertEquals(await guard.ranNowhere(), []);
  await guard.keep();
  assertEquals(await guard.ranNowhere(), []);
  assertEquals(marks(path), before);
});

guards("HandOverGuard that recovers needs no mark, and makes one", async ({ path }) => {
  await leave(path, TO, "recover");
  await assertRejects(() => look(path), HandedOverError);
});

guards(
  "HandOverGuard that recovers at another port removes the mark when the guest is complete",
  async ({ path }) => {
    await leave(path);
    using guard = await look(path, "tcp:127.0.0.1:5555", "recover");
    assertEquals(await guard.completed(), []);
    assertEquals(marks(path), []);
  },
);

guards(
  "HandOverGuard that recovers and is killed holds every port where the guest listened",
  async ({ path }) => {
    await leave(path);
    await leave(path, "tcp:127.0.0.1:5555", "recover");
    assertEquals(marks(path).length, 1);
    using again = await look(path, TO, "recover");
    await again.completed();
    assertEquals(marks(path), []);
  },
);

guards(
  "HandOverGuard that recovers leaves marks of which nobody knows whether they are this guest's",
  async ({ path }) => {
    await leave(path);
    await leave(path, "tcp:127.0.0.1:4446", "start-anew");
    const before = marks(path);
    using guard = await look(path, "tcp:127.0.0.1:5555", "recover");
    await guard.completed();
    assertEquals(marks(path), before);
  },
);

guards(
  "HandOverGuard without locks to tell who still serves refuses the same destination alone",
  async ({ path }) => {
    await leave(path);
    const files = Deno.FsFile.prototype as Pick<Deno.FsFile, "tryLock">;
    const none = () => () => Promise.reject(new Error("No locks available (os error 37)"));
    await replacing(files, "tryLock", none, async () => {
      await assertRejects(() => look(path), HandedOverError);
      using guard = await look(path, "tcp:127.0.0.1:4445");
      assertEquals(guard.notes, []);
    });
  },
);

/** Runs with files failing to be synced: what a full or broken disk does at last. */
const failing = (run: () => Promise<void>) =>
  replacing(Deno.FsFile.prototype as Pick<Deno.FsFile, "syncData">, "syncData", () => () => {
    return Promise.reject(new Error("No space left on device (os error 28)"));
  }, run);

guards(
  "HandOverGuard that cannot make its mark durable says so, and leaves none",
  async ({ path }) => {
    await failing(async () => {
      using guard = await look(path);
      const notes = await guard.keep();
      assertEquals(notes.length, 1);
      assertMatch(
        notes[0]!,
        /^Hand-over is not marked beside the image: no file can be made in .*\/: No space left on device/,
      );
      assertEquals(marks(path), []);
      assertEquals(await guard.completed(), []);
      using daemons = await look(path, TO, "start", "ab12");
      const [note = ""] = await daemons.keep();
      assertStringIncludes(
        note,
        "should this session end before it has completed, go on with --recover",
      );
      assertStringIncludes(
        note,
        "the next daemon goes on with it by itself, or by postcopy recover ab12",
      );
    });
  },
);
