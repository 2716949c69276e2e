/** Sources that describe nothing (`suppress-vmdesc=on`) and wait for an answer behind the EOF byte. */
import "../support/native.ts";
import { assertEquals } from "@std/assert";
import { openImage } from "../../image/open_image.ts";
import { joinDeviceState } from "../../migration/protocol/device_state.ts";
import { encodeWorkloadState } from "../../workload/device_state.ts";
import { PATTERN } from "../hostile/scripted_source.ts";
import { ALL, PAGES, receiving, type Reception } from "./received.ts";

const DEVICES = encodeWorkloadState({ ...PATTERN, pages: PAGES });
const DESCRIPTION = `{"page_size":4096,"devices":[]}`;

/** Sends all up to the devices' end, and waits as QEMU does. */
async function depart({ source }: Reception, end: Uint8Array): Promise<void> {
  await source.connect();
  source.stream.header();
  source.stream.configuration({ machine: "postcopy-workload" });
  source.stream.command({ kind: "open-return-path" });
  source.encodeBlocks();
  source.encodePages(ALL);
  source.stream.sectionEnd(2);
  source.stream.endOfSection();
  source.stream.sectionFooter(2);
  source.stream.deviceState(end, 0, end.length);
  await source.flush();
}

Deno.test(
  "ImageReceiver completes for a source that describes nothing and keeps the connection open",
  receiving(async (reception) => {
    const { source } = reception;
    await depart(reception, joinDeviceState({ devices: DEVICES }));
    await source.hear(({ shuts }) => shuts.length > 0);
    assertEquals(source.heard.shuts, [0]);
    await reception.makesImage();
    using image = await openImage(reception.path);
    assertEquals(image.deviceState, DEVICES);
  }),
);

Deno.test(
  "ImageReceiver keeps a description that comes a while behind the EOF byte",
  receiving(async (reception) => {
    const { source } = reception;
    const bare = joinDeviceState({ devices: DEVICES });
    const whole = joinDeviceState({ devices: DEVICES, description: DESCRIPTION });
    await depart(reception, bare);
    source.stream.deviceState(whole, bare.length, whole.length - bare.length);
    await source.flush();
    await source.hear(({ shuts }) => shuts.length > 0);
    await reception.completes();
    using image = await openImage(reception.path);
    assertEquals([source.heard.shuts, image.description], [[0], DESCRIPTION]);
  }),
);

Deno.test(
  "ImageReceiver has confirmed already when a description comes too late, and the source hears it",
  receiving(async (reception) => {
    const { source, receiver } = reception;
    const bare = joinDeviceState({ devices: DEVICES });
    const whole = joinDeviceState({ devices: DEVICES, description: DESCRIPTION });
    await depart(reception, bare);
    await reception.completes();
    // QEMU would take the guest back if it could not get rid of what it still has to say.
    await source.main.sendAll(whole.subarray(bare.length));
    const closed = receiver.close();
    await source.hear(({ shuts }) => shuts.length > 0);
    assertEquals(source.heard.shuts, [0]);
    source.main.shutdown();
    await closed;
    await reception.assertImage();
  }),
);

Deno.test(
  "ImageReceiver takes devices that are not whole for no end when the connection breaks",
  receiving(async (reception) => {
    const { source } = reception;
    const whole = joinDeviceState({ devices: DEVICES });
    await depart(reception, whole.subarray(0, -1));
    source[Symbol.dispose]();
    assertEquals((await reception.fails()).code, "CONNECTION_LOST");
    assertEquals(reception.files, []);
  }),
);
