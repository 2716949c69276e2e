import { assert, assertEquals, assertMatch } from "@std/assert";
import { RamLayout } from "../../migration/memory/ram_layout.ts";
import { MOST_ORDER_BYTES, type OwnedOrder } from "../../image/order/order_codec.ts";
import { readOrderFile, readOrderOf, writeOrderFile } from "../../image/order/order_file.ts";
import { withDirectory } from "../image/captures.ts";

const layout = new RamLayout([{ name: "ram", usedLength: 4096 * 1000 }]);

function orderOf(...pages: readonly number[]): OwnedOrder {
  const list = { pages: Int32Array.from(pages), idle: new Uint8Array(pages.length) };
  return { stamp: "a guest", layout, list };
}

Deno.test("readOrderOf reads what writeOrderFile wrote, with the permissions that it was given", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/order`;
    assertEquals(await readOrderOf(path, orderOf()), undefined);
    assertEquals(await writeOrderFile(path, orderOf(5, 4, 3), 0o600), undefined);
    const read = await readOrderOf(path, orderOf());
    assertEquals(read, orderOf(5, 4, 3).list);
    assertEquals((await Deno.stat(path)).mode! & 0o777, 0o600);
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["order"]);
  }));

Deno.test("readOrderFile says why a file is not used", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/order`;
    const why = async () => `${await readOrderFile(path)}`;
    await Deno.writeFile(path, new Uint8Array(7));
    assertEquals(await why(), "it is shorter than its header");
    await Deno.writeFile(path, new Uint8Array(100));
    assertEquals(await why(), "it is no order of this program");
    await Deno.truncate(path, MOST_ORDER_BYTES + 1);
    assertMatch(await why(), /^it has \d+ bytes, and an order at most \d+$/);
    await Deno.remove(path);
    await Deno.mkdir(path);
    assertEquals(await why(), "it is no regular file");
  }));

Deno.test("readOrderFile does not wait for a pipe", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/order`;
    const { success } = await new Deno.Command("mkfifo", { args: [path] }).output();
    assert(success);
    assertEquals(await readOrderFile(path), "it is no regular file");
  }));

Deno.test("writeOrderFile says why nothing is kept, and leaves nothing", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/order`;
    await Deno.mkdir(path); // a name that nothing can be moved to
    const why = await writeOrderFile(path, orderOf(1), 0o600);
    assertMatch(why!, /^no file can be made in /);
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["order"]);
    assertMatch(
      (await writeOrderFile(`${directory}/none/order`, orderOf(1), 0o600))!,
      /No such file/,
    );
  }));

Deno.test("writeOrderFile of several at once leaves one of them, whole, and is read whole meanwhile", () =>
  withDirectory(async (directory) => {
    const path = `${directory}/order`;
    const orders = Array.from(
      { length: 12 },
      (_, index) => orderOf(...Array.from({ length: 200 + index }, (_, page) => page + index)),
    );
    await writeOrderFile(path, orders[0]!, 0o600);
    let over = false;
    const reading = (async () => {
      let reads = 0;
      for (; !over || reads === 0; reads++) {
        const found = await readOrderOf(path, orderOf());
        assert(typeof found === "object", `${found}`);
        assertEquals(found, orders[found.pages[0]!]!.list);
      }
      return reads;
    })();
    for (let round = 0; round < 10; round++) {
      const failed = await Promise.all(orders.map((order) => writeOrderFile(path, order, 0o600)));
      assertEquals(new Set(failed), new Set([undefined]));
    }
    over = true;
    assert(await reading > 0);
    assertEquals([...Deno.readDirSync(directory)].map(({ name }) => name), ["order"]);
  }));
