/** The devices of a machine, saved and loaded together. */

import { ByteWriter } from "../protocol/byte_writer.ts";
import { ELEMENT } from "../protocol/constants.ts";
import { encodeName } from "../protocol/names.ts";
import { describeStructure } from "./describe.ts";
import type { Description } from "./description.ts";
import { DeviceStateError } from "./device_state_error.ts";
import { FieldError, fieldError } from "./field_error.ts";
import { StateReader } from "./load.ts";
import { StateWriter } from "./save.ts";
import { checkFooter, FOOTER_BYTES, printable, sectionHead } from "./section.ts";
import type { State, Structure } from "./structure.ts";
import { versionFault } from "./subsection_head.ts";

/** A device of a machine, for {@linkcode Devices.add}. */
export interface Device<S> {
  /** Name of its section: the same at both ends. */
  readonly name: string;
  /** Tells devices of one name apart; default 0. */
  readonly instance?: number;
  /** What its state consists of. */
  readonly description: Description<S>;
  /** The state; saved from, and loaded into, this very object. */
  readonly state: NoInfer<S>;
}

/** What {@linkcode Devices.load} may be told. */
export interface LoadOptions {
  /**
   * Is given all of the loading as one function, to call once: what has to be around it, such as a memory
   * transaction. What either throws comes out of `load`.
   */
  around?(load: () => void): void;
  /**
   * Called for each device that is loaded, its `postLoad` included.
   *
   * @param name of the device
   * @param instance tells devices of one name apart
   * @param nanoseconds that it took
   */
  onDevice?(name: string, instance: number, nanoseconds: number): void;
}

/** A device as it is kept, its types forgotten. */
interface Entry {
  readonly name: string;
  readonly instance: number;
  readonly description: Structure;
  readonly state: State;
}

/**
 * The devices of a machine, and their state in QEMU's section format: for each a SECTION_FULL with id,
 * name, instance and version, its fields, and a footer (docs/protocol.md section 1.1). Both ends add
 * the same.
 */
export class Devices {
  readonly #entries: Entry[] = [];
  readonly #byName = new Map<string, Entry>();

  /**
   * Adds a device, to be saved behind those that were added before.
   *
   * @throws {RangeError} When its name is none, or there is the same already.
   */
  add<S>({ name, instance = 0, description, state }: Device<S>): void {
    if (printable(encodeName(name)) !== name) {
      throw new RangeError(`Cannot name a device with control characters: ${printableOf(name)}`);
    }
    if (instance >>> 0 !== instance) {
      throw new RangeError(`Cannot have an instance that is no number of 32 bits: ${instance}`);
    }
    const key = keyOf(name, instance);
    if (this.#byName.has(key)) {
      throw new RangeError(`Cannot add a device twice, number its instances: ${name}, ${instance}`);
    }
    const entry = { name, instance, description, state: state as State };
    this.#entries.push(entry);
    this.#byName.set(key, entry);
  }

  /**
   * Saves the devices' state, in the order in which they were added.
   *
   * @param firstId section id of the first, default 0; the others count on from there
   * @returns SECTION_FULLs with footers
   * @throws {DeviceStateError} When a state is not of the form of its description, or a hook throws.
   */
  save(firstId = 0): Uint8Array<ArrayBuffer> {
    const to = new ByteWriter(1 << 16);
    const writer = new StateWriter(to);
    this.#entries.forEach(({ name, instance, description, state }, index) => {
      const id = firstId + index;
      try {
        if (!writer.needed(description, state)) return;
        to.u8(ELEMENT.SECTION_FULL);
        to.u32(id);
        to.name(name);
        to.u32(instance);
        to.u32(description.version);
        writer.structure(description, state, description.version);
        to.u8(ELEMENT.SECTION_FOOTER);
        to.u32(id);
      } catch (error) {
        throw new DeviceStateError("save", name, instance, fieldError(error, to.length));
      }
    });
    return to.take();
  }

  /**
   * Describes what was saved, for tools that know nothing of these devices: JSON for a VMDESCRIPTION.
   *
   * What is in a state depends on its values, so this is of use only right after {@linkcode save}, as
   * long as nothing has changed: no `preSave` is run.
   *
   * @param targetPageSize bytes of a target page
   */
  describe(targetPageSize: number): string {
    const devices = this.#entries
      .filter(({ description, state }) => description.needed?.(state) !== false)
      .map(({ name, instance, description, state }) => ({
        name,
        instance_id: instance,
        ...describeStructure(description, state, description.version).json,
      }));
    return JSON.stringify({ page_size: targetPageSize, devices });
  }

  /**
   * Loads the devices' state, in the order of the sections.
   *
   * When it throws the devices hold part of what came, and must not run.
   *
   * @param bytes SECTION_FULLs with footers
   * @throws {DeviceStateError} When they are not what these devices save, or a hook throws.
   */
  load(bytes: Uint8Array, options: LoadOptions = {}): void {
    const { around, onDevice } = options;
    if (around === undefined) {
      this.#load(bytes, onDevice);
      return;
    }
    let loaded = false;
    around(() => {
      this.#load(bytes, onDevice);
      loaded = true;
    });
    // Otherwise the guest would start with the state that its devices had been made with.
    if (!loaded) throw new TypeError("Cannot do without the loading, call what `around` is given");
  }

  #load(bytes: Uint8Array, onDevice: LoadOptions["onDevice"]): void {
    const loaded = new Set<Entry>();
    let at = 0;
    while (at < bytes.length) {
      const began = performance.now();
      const { entry, end } = this.#loadSection(bytes, at, loaded);
      onDevice?.(entry.name, entry.instance, Math.round((performance.now() - began) * 1e6));
      loaded.add(entry);
      at = end;
    }
    for (const entry of this.#entries) {
      if (loaded.has(entry) || entry.description.needed !== undefined) continue;
      throw new DeviceStateError("load", entry.name, entry.instance, {
        code: "missing-device",
        field: "",
        offset: at,
        expected: "a section of every device, have the same devices at both ends",
        found: "the end of the device state",
      });
    }
  }

  #loadSection(
    bytes: Uint8Array,
    at: number,
    loaded: ReadonlySet<Entry>,
  ): { entry: Entry; end: number } {
    let name = "";
    let instance = 0;
    let reader: StateReader | undefined;
    try {
      const head = sectionHead(bytes, at);
      ({ name, instance } = head);
      const entry = this.#find(name, instance, at);
      if (loaded.has(entry)) {
        const expected = "each device once";
        throw new FieldError("device-twice", "", at, expected, "a second section of it");
      }
      const { description, state } = entry;
      const fault = versionFault(description, head.version, head.end - 4);
      if (fault !== undefined) throw fault;
      reader = new StateReader(bytes, head.end);
      reader.structure(description, state, head.version);
      checkFooter(bytes, reader.at, head.id, lastField(description, head.version));
      return { entry, end: reader.at + FOOTER_BYTES };
    } catch (error) {
      throw new DeviceStateError("load", name, instance, fieldError(error, reader?.at ?? at));
    }
  }

  #find(name: string, instance: number, at: number): Entry {
    const entry = this.#byName.get(keyOf(name, instance));
    if (entry !== undefined) return entry;
    const expected = "a device of this machine, have the same devices at both ends";
    throw new FieldError("unknown-device", "", at, expected, "none of that name and instance");
  }
}

function keyOf(name: string, instance: number): string {
  return `${instance} ${name}`;
}

/** Where the fields of a version end, as well as that can be said. */
function lastField({ steps }: Structure, version: number): string {
  return steps.findLast((step) => step.since <= version)?.key ?? "";
}

function printableOf(name: string): string {
  return printable(new TextEncoder().encode(name));
}
