/** `--allow-from`: the networks whose hosts may connect. */

/** An address as a number, and of how many bits. */
interface Address {
  readonly bits: 32 | 128;
  readonly value: bigint;
}

/** Hosts whose addresses begin as one address does. */
interface Network extends Address {
  /** Bits at the end that may be any. */
  readonly free: bigint;
}

/** Whether a host may connect, by its address alone: for networks where addresses can be trusted. */
export class AllowList {
  readonly #networks: readonly Network[];

  /**
   * @param networks such as `192.0.2.0/24`, `2001:db8::/32` or `192.0.2.7`
   * @throws {RangeError} naming the one that is none
   */
  constructor(networks: readonly string[]) {
    if (networks.length === 0) {
      throw new RangeError("Nobody is allowed to connect: give networks such as 192.0.2.0/24");
    }
    this.#networks = networks.map(parseNetwork);
  }

  /**
   * Whether a host may connect.
   *
   * @param host its address, as `peerHost` returns it: empty for a unix socket, whose file's mode says who may
   */
  allows(host: string): boolean {
    if (host === "") return true;
    const address = parseAddress(host);
    if (address === undefined) return false;
    return this.#networks.some(({ bits, value, free }) =>
      bits === address.bits && value >> free === address.value >> free
    );
  }
}

function parseNetwork(text: string): Network {
  const [host, length, more] = text.split("/");
  const address = parseAddress(host!);
  if (address !== undefined && more === undefined) {
    const fixed = length === undefined ? address.bits : /^\d{1,3}$/.test(length) ? +length : NaN;
    const free = BigInt(address.bits) - BigInt(Number.isNaN(fixed) ? -1 : fixed);
    if (fixed >= 0 && fixed <= address.bits) {
      if (address.value >> free << free === address.value) return { ...address, free };
      throw new RangeError(
        `Not a network, for its address has bits behind the first ${fixed}: ${text}: ` +
          `name one host by ${host}, or the network by its first address`,
      );
    }
  }
  throw new RangeError(
    `Not a network: ${text}: give one such as 192.0.2.0/24, 2001:db8::/32 or 192.0.2.7`,
  );
}

function parseAddress(text: string): Address | undefined {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) {
    const bytes = text.split(".").map(Number);
    if (bytes.some((byte) => byte > 255)) return undefined;
    return { bits: 32, value: bytes.reduce((sum, byte) => sum << 8n | BigInt(byte), 0n) };
  }
  const [plain] = text.split("%", 1); // an interface is this host's own business
  if (!plain!.includes(":") || !URL.canParse(`http://[${plain}]`)) return undefined;
  const groups = new URL(`http://[${plain}]`).hostname.slice(1, -1);
  const [front = "", back] = groups.split("::");
  const parts = (side: string) => side === "" ? [] : side.split(":").map((group) => `0x${group}`);
  const [first, last] = [parts(front), parts(back ?? "")];
  const middle = Array<string>(8 - first.length - last.length).fill("0x0");
  const value = [...first, ...middle, ...last].reduce((sum, part) => sum << 16n | BigInt(part), 0n);
  // A host of the older kind, as a socket for both kinds names it.
  return value >> 32n === 0xffffn
    ? { bits: 32, value: value & 0xffff_ffffn }
    : { bits: 128, value };
}
