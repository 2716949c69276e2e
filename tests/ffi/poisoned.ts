// deno-lint-ignore-file no-console -- a command
/**
 * Child process: poisons two pages, replaces one by content, and touches the other, of which it dies.
 *
 * @module
 */

import { MappedMemory } from "../../ffi/memory.ts";
import { PagePlacer } from "../../ffi/page_placer.ts";
import { RegisterMode, UffdFeature, Userfaultfd } from "../../ffi/userfaultfd.ts";

const memory = MappedMemory.anonymous(8192);
const content = MappedMemory.anonymous(4096);
const uffd = new Userfaultfd({ features: UffdFeature.POISON });
uffd.register(memory.address, memory.length, RegisterMode.MISSING);
const placer = new PagePlacer(uffd.fd);
const placed = placer.poison(memory.address, 8192);
const replaced = placer.copy(memory.address, content.address, 4096);
console.log(`placed ${placed}, content replaces it: ${replaced}`);
if (memory.bytes()[0] !== 0) throw new Error("Other content than was placed");
console.log("touching");
console.log(`survived: ${memory.bytes()[4096]}`);
