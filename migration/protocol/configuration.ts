/** What a stream says of its machine before anything else, as plain data. */

/**
 * The CONFIGURATION element: what the destination compares with itself (docs/protocol.md section 1.2).
 */
export interface Configuration {
  /** Versioned machine type, e.g. `pc-q35-7.2`. */
  readonly machine: string;
  /** log2 of the target page size; absent where it cannot differ (always on x86). */
  readonly targetPageBits?: number;
  /** Capabilities the destination must have alike: `x-ignore-shared`, `mapped-ram`. Absent when none. */
  readonly capabilities?: readonly string[];
  /** 16 bytes; present with the capability `validate-uuid`. */
  readonly uuid?: Uint8Array;
}

/** Whether the configuration names a capability. */
export function hasCapability(configuration: Configuration, capability: string): boolean {
  return configuration.capabilities?.includes(capability) ?? false;
}

/** The configuration without a capability, as for a destination that is not to have it. */
export function withoutCapability(configuration: Configuration, capability: string): Configuration {
  const { capabilities, ...rest } = configuration;
  const left = capabilities?.filter((name) => name !== capability) ?? [];
  return left.length === 0 ? rest : { ...rest, capabilities: left };
}
