/** How the library asks for a pre-shared key: by a call back, inside the handshake, on its thread. */

import type { PreSharedKey, TlsRole } from "./context.ts";
import { openSsl } from "./libssl.ts";

const CLIENT = {
  parameters: ["pointer", "pointer", "pointer", "u32", "pointer", "u32"],
  result: "u32",
} as const;
const SERVER = { parameters: ["pointer", "pointer", "pointer", "u32"], result: "u32" } as const;

/** Copies bytes to where the library wants them; false when there is not enough room. */
function put(bytes: Uint8Array, to: Deno.PointerValue, room: number): boolean {
  if (to === null || bytes.length > room) return false;
  new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(to, bytes.length)).set(bytes);
  return true;
}

/** Answers for one session, until it is closed: when the handshake is over. */
export class PskCallback implements Disposable {
  readonly #session: bigint;
  readonly #keys: readonly PreSharedKey[];
  readonly #role: TlsRole;
  #callback: { readonly pointer: Deno.PointerObject; close(): void } | undefined;
  #unknown: string | undefined;

  /**
   * @param session a session's address
   * @param keys a client's one, or all that a server knows
   */
  constructor(session: bigint, role: TlsRole, keys: readonly PreSharedKey[]) {
    this.#session = session;
    this.#keys = keys;
    this.#role = role;
    if (role === "client") {
      this.#callback = new Deno.UnsafeCallback(
        CLIENT,
        (_session, _hint, identity, identityRoom, key, room) =>
          this.#offer(identity, identityRoom, key, room),
      );
    } else {
      this.#callback = new Deno.UnsafeCallback(
        SERVER,
        (_session, identity, key, room) => this.#find(identity, key, room),
      );
    }
    this.#set(Deno.UnsafePointer.value(this.#callback.pointer));
  }

  /** The last identity that was asked for and is not known; undefined: none. */
  get unknown(): string | undefined {
    return this.#unknown;
  }

  #set(callback: bigint): void {
    const library = openSsl();
    if (this.#role === "client") library.SSL_set_psk_client_callback(this.#session, callback);
    else library.SSL_set_psk_server_callback(this.#session, callback);
  }

  /** A client's identity and key; returns the key's length, 0 for none. */
  #offer(
    identity: Deno.PointerValue,
    identityRoom: number,
    to: Deno.PointerValue,
    room: number,
  ): number {
    const [own] = this.#keys;
    if (own === undefined) return 0;
    const name = new TextEncoder().encode(`${own.identity}\0`);
    if (!put(name, identity, identityRoom) || !put(own.key, to, room)) return 0;
    return own.key.length;
  }

  /** The key of a client's identity; returns its length, 0 for none. */
  #find(identity: Deno.PointerValue, to: Deno.PointerValue, room: number): number {
    if (identity === null) return 0;
    let name: string;
    try {
      name = Deno.UnsafePointerView.getCString(identity);
    } catch {
      name = "(not UTF-8)"; // which no line of keys.psk is
    }
    const found = this.#keys.find((known) => known.identity === name);
    if (found === undefined) {
      this.#unknown = name;
      return 0;
    }
    return put(found.key, to, room) ? found.key.length : 0;
  }

  /** Nobody is asked any more. Closing again does nothing. */
  close(): void {
    if (this.#callback === undefined) return;
    this.#set(0n);
    this.#callback.close();
    this.#callback = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
