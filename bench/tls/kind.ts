/** How connections are protected, and who stands at their ends. */

/** In clear, by certificates, and by a key that both ends know. */
export const KINDS = ["clear", "x509", "psk"] as const;

/** One of {@linkcode KINDS}. */
export type Kind = typeof KINDS[number];

/** Who moves the memory to whom. */
export const PAIRS = ["ours", "qemu", "serve-qemu"] as const;

/** One of {@linkcode PAIRS}. */
export type Pair = typeof PAIRS[number];

/** Pairs in words, for tables. */
export const PAIR_TITLES: Readonly<Record<Pair, string>> = {
  ours: "ours to ours",
  qemu: "QEMU to QEMU",
  "serve-qemu": "serve to QEMU",
};
