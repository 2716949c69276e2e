import { assert, assertEquals, assertThrows } from "@std/assert";
import { GrowingBytes } from "../../client/incoming/growing_bytes.ts";
import { PrecopyEnd } from "../../client/incoming/precopy_end.ts";
import type { DeviceStateTail } from "../../migration/protocol/device_state.ts";
import {
  describeGuestSection,
  encodeGuestSection,
} from "../../migration/protocol/guest_section.ts";
import { ProtocolError } from "../../migration/protocol/protocol_error.ts";
import { IgnoreStream } from "../../migration/protocol/stream.ts";
import { StreamDecoder } from "../../migration/protocol/stream_decoder.ts";
import { joinDeviceState } from "../../migration/protocol/device_state.ts";
import { readRecording } from "../support/fixtures.ts";
import { Random } from "../support/random.ts";
import { CAPTURES } from "../support/recorded.ts";
import { needsRecording, testUnless } from "../support/skip.ts";

/** All that comes behind the memory. */
function tailOf(recording: Uint8Array): Uint8Array {
  let tail = new Uint8Array(0);
  const decoder = new StreamDecoder(
    new class extends IgnoreStream {
      override deviceState(bytes: Uint8Array, at: number, length: number): void {
        tail = bytes.slice(at, at + length);
      }
    }(),
  );
  decoder.feed(recording);
  return tail;
}

/** Adds pieces, and says at which byte the end was found. */
function endOf(pieces: readonly Uint8Array[]): { at: number; found: DeviceStateTail | undefined } {
  const end = new PrecopyEnd();
  let at = 0;
  for (const piece of pieces) {
    const found = end.add(piece, 0, piece.length);
    at += piece.length;
    if (found !== undefined) return { at, found };
  }
  return { at, found: undefined };
}

function guestTail(state: Uint8Array): Uint8Array {
  const description = describeGuestSection(state.length, 4096);
  return joinDeviceState({ devices: encodeGuestSection(2, state), description });
}

for (const { name: capture, path } of CAPTURES) {
  testUnless(
    needsRecording(path),
    `PrecopyEnd finds the end of ${capture} however it is cut, and not before it`,
    () => {
      const tail = tailOf(readRecording(path));
      const whole = endOf([tail]);
      assertEquals(whole.at, tail.length);
      const { devices, description } = whole.found!;
      assert(description !== undefined && devices.length > 1000);
      const random = new Random(21);
      for (const most of [tail.length, 50_000, 1500, 300]) {
        const { at, found } = endOf(random.split(tail, most));
        assertEquals(at, tail.length);
        assertEquals(found!.devices.length, devices.length);
        assertEquals(found!.description, description);
      }
    },
  );

  testUnless(
    needsRecording(path),
    `PrecopyEnd finds the end of ${capture} when its description comes byte by byte`,
    () => {
      const tail = tailOf(readRecording(path));
      const last = tail.subarray(tail.length - 2000);
      const bytes = Array.from(last, (_, index) => last.subarray(index, index + 1));
      const { at, found } = endOf([tail.subarray(0, tail.length - 2000), ...bytes]);
      assertEquals(at, tail.length);
      assert(found?.description !== undefined);
    },
  );

  testUnless(
    needsRecording(path),
    `PrecopyEnd.close refuses ${capture} when it was cut short in its description`,
    () => {
      const tail = tailOf(readRecording(path));
      const end = new PrecopyEnd();
      assertEquals(end.add(tail, 0, tail.length - 1), undefined);
      assertThrows(() => end.close(), ProtocolError);
    },
  );
}

Deno.test("PrecopyEnd finds the end of a guest's state byte by byte, whatever the state is", () => {
  const random = new Random(22);
  for (let run = 0; run < 40; run++) {
    const state = random.bytes(random.below(400)).map((byte) => random.oneIn(3) ? 0x7d : byte);
    const tail = guestTail(state);
    const { at, found } = endOf(random.split(tail, random.pick([1, 3, 50])));
    assertEquals(at, tail.length);
    assertEquals(found!.devices, encodeGuestSection(2, state));
    assertEquals(found!.description, describeGuestSection(state.length, 4096));
  }
});

Deno.test("PrecopyEnd is not fooled by a state that holds the end of another stream", () => {
  const inner = guestTail(new Uint8Array([1, 2, 3]));
  const state = new Uint8Array([...inner, 9, 9, 9, ...inner]);
  const tail = guestTail(state);
  const { at, found } = endOf([tail]);
  assertEquals(at, tail.length);
  assertEquals(found!.devices, encodeGuestSection(2, state));
});

Deno.test("PrecopyEnd.close takes a stream without a description, which ends with the EOF byte", () => {
  const section = encodeGuestSection(2, new Uint8Array(100));
  const end = new PrecopyEnd();
  assertEquals(end.add(new Uint8Array([...section, 0]), 0, section.length + 1), undefined);
  assertEquals(end.close(), { devices: section });
});

Deno.test("PrecopyEnd.close takes a padded stream, and zeros behind the EOF byte of a bare one", () => {
  const section = encodeGuestSection(2, new Uint8Array(100));
  for (const stream of [guestTail(new Uint8Array(100)), [...section, 0]]) {
    const end = new PrecopyEnd();
    const padded = new Uint8Array([...stream, ...new Uint8Array(4096)]);
    assertEquals(end.add(padded, 0, padded.length), undefined);
    assertEquals(end.close().devices, section);
  }
});

Deno.test("PrecopyEnd.rest takes silence behind whole sections and EOF for the end", () => {
  const state = new Random(24).bytes(300);
  const section = encodeGuestSection(2, state);
  const end = new PrecopyEnd();
  // Silence in the middle of the devices is no end, however long.
  for (let at = 0; at < section.length; at++) {
    end.add(section, at, 1);
    assertEquals([end.rest(0), end.rest(Number.MAX_SAFE_INTEGER)], [Infinity, Infinity]);
  }
  end.add(Uint8Array.of(0), 0, 1);
  const left = end.rest(1e9);
  assert(typeof left === "number" && left > 0 && left < Infinity);
  assertEquals(end.rest(1e9 + left - 1), 1);
  assertEquals(end.rest(1e9 + left), { devices: section });
});

Deno.test("PrecopyEnd.rest waits for all of a description that has begun", () => {
  const tail = guestTail(new Uint8Array(50).fill(0x7e));
  const eof = encodeGuestSection(2, new Uint8Array(50)).length + 1;
  const end = new PrecopyEnd();
  end.add(tail, 0, eof);
  assert(end.rest(0) !== Infinity);
  for (let at = eof; at < tail.length - 1; at++) {
    assertEquals(end.add(tail, at, 1), undefined);
    assertEquals([end.rest(0), end.rest(Number.MAX_SAFE_INTEGER)], [Infinity, Infinity]);
  }
  const found = end.add(tail, tail.length - 1, 1);
  assert(found?.description !== undefined);
});

Deno.test("PrecopyEnd.close refuses device state that was cut short", () => {
  const section = encodeGuestSection(2, new Uint8Array(100).fill(1));
  for (let length = 0; length <= section.length; length++) {
    const end = new PrecopyEnd();
    end.add(section, 0, length);
    assertThrows(() => end.close(), ProtocolError);
  }
});

Deno.test("GrowingBytes holds what was added, copied, through every growth", () => {
  const random = new Random(23);
  const bytes = new GrowingBytes();
  const parts: Uint8Array[] = [];
  for (let added = 0; added < 5 << 20;) {
    const part = random.bytes(random.between(1, 400_000));
    const padded = new Uint8Array(part.length + 20);
    padded.set(part, 10);
    bytes.add(padded, 10, part.length);
    padded.fill(0);
    parts.push(part);
    added += part.length;
    assertEquals(bytes.length, added);
  }
  let at = 0;
  for (const part of parts) {
    assert(bytes.bytes.subarray(at, at + part.length).every((byte, index) => byte === part[index]));
    at += part.length;
  }
  assertEquals(bytes.bytes.length, at);
});
