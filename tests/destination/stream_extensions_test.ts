import { assertEquals } from "@std/assert";
import type { Command } from "../../migration/protocol/command.ts";
import { encodeGreeting, encodeSwitchover } from "../../server/sending/control_stream.ts";
import {
  assertRefused,
  command,
  DEVICES,
  Heard,
  MACHINE,
  OPENED,
  OPENING,
  PAGE,
  PAGES,
  pages,
} from "./heard_stream.ts";

const ZSTD: Command = { kind: "extensions", names: ["compress-postcopy", "zstd"] };

Deno.test("IncomingStream learns from the extensions how pages are compressed", () => {
  const heard = new Heard().feed(OPENING).feed(command(ZSTD)).feed(pages());
  assertEquals(heard.log.slice(0, OPENED.length + 1), [...OPENED, "compressed by zstd"]);
  const without = new Heard().feed(OPENING).feed(command({ kind: "extensions", names: [] }));
  assertEquals(without.log, OPENED);
});

Deno.test("IncomingStream refuses an extension that it does not know, by its name", () => {
  const unknown = command({ kind: "extensions", names: ["zstd", "lz4"] });
  const message =
    /^Source uses an extension that is not known here, take the same version for both: lz4$/;
  assertRefused(message, "UNSUPPORTED", OPENING, unknown);
});

Deno.test("IncomingStream refuses extensions after the first page", () => {
  const message = /^Extensions after the first page$/;
  assertRefused(message, "BAD_PEER", OPENING, pages(), command(ZSTD));
});

const MAY_LACK = command({ kind: "extensions", names: ["absent-pages"] });
const LACKS = command({ kind: "absent-pages", block: "high", runs: [1, 2, 5, 3] });

Deno.test("IncomingStream takes the names of absent pages between the blocks and LISTEN", () => {
  const heard = new Heard().feed(OPENING).feed(MAY_LACK).feed(LACKS).feed(LACKS);
  assertEquals(heard.log, [...OPENED, "absent high 1,2,5,3", "absent high 1,2,5,3"]);
  heard.feed(encodeSwitchover(DEVICES)).feed(pages());
  assertEquals(heard.log.slice(-PAGES.length), [...PAGES]);
});

Deno.test("IncomingStream takes the names of absent pages behind pages and discards where that was said", () => {
  const names = ["absent-pages", "absent-behind-pages"];
  const said = command({ kind: "extensions", names });
  const ranges = [{ start: 0, length: PAGE }];
  const discard = command({ kind: "discard", block: "low", ranges });
  const heard = new Heard().feed(OPENING).feed(said).feed(pages()).feed(discard).feed(LACKS);
  assertEquals(heard.log.at(-1), "absent high 1,2,5,3");
  const page = /^Page between the names of absent pages and LISTEN$/;
  assertRefused(page, "BAD_PEER", OPENING, said, pages(), LACKS, pages());
  const late = /^Absent pages without the extension, /;
  assertRefused(late, "BAD_PEER", OPENING, said, encodeSwitchover(DEVICES), LACKS);
});

Deno.test("IncomingStream refuses absent pages where a page may be in their place, now or later", () => {
  const early =
    /^Absent pages without the extension, before the RAM blocks, or after a page or LISTEN$/;
  assertRefused(early, "BAD_PEER", OPENING, LACKS);
  assertRefused(early, "BAD_PEER", encodeGreeting(MACHINE.configuration), MAY_LACK, LACKS);
  assertRefused(early, "BAD_PEER", OPENING, MAY_LACK, pages(), LACKS);
  assertRefused(early, "BAD_PEER", OPENING, MAY_LACK, encodeSwitchover(DEVICES), LACKS);
  const page = /^Page between the names of absent pages and LISTEN$/;
  assertRefused(page, "BAD_PEER", OPENING, MAY_LACK, LACKS, pages());
  const ranges = [{ start: 0, length: PAGE }];
  const discard = command({ kind: "discard", block: "low", ranges });
  assertRefused(
    /^Discard between the names of absent pages and LISTEN$/,
    "BAD_PEER",
    OPENING,
    MAY_LACK,
    LACKS,
    discard,
  );
});

/** What a source says that resumes, before its pages. */
