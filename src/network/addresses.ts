/** The network of a sandbox: a cable of its own, so that all sandboxes can have the same addresses on it. */

/** One family's side. */
export interface Side {
  readonly network: string;
  readonly bits: number;
  readonly guest: string;
  /** The gateway; what it leads to on the host is the VMM's affair. */
  readonly host: string;
  readonly nameServer: string;
}

/** What QEMU and Podman give their guests, too. */
export const IPV4: Side = {
  network: "10.0.2.0",
  bits: 24,
  guest: "10.0.2.15",
  host: "10.0.2.2",
  nameServer: "10.0.2.3",
};

/** Of the host of the guest's that has this number from 0 on, and is none: a service (ffi/vmm.cddl). */
export function serviceAddress(index: number): string {
  return `10.0.2.${64 + index}`;
}

/** A unique local prefix (RFC 4193); its digits spell "capsa". */
export const IPV6: Side = {
  network: "fd63:6170:7361::",
  bits: 64,
  guest: "fd63:6170:7361::15",
  host: "fd63:6170:7361::2",
  nameServer: "fd63:6170:7361::3",
};

/** Locally administered, and the same letters. */
export const MAC = Uint8Array.of(0x02, 0x63, 0x61, 0x70, 0x73, 0x61);

/**
 * No real cable is between guest and host: large packets are few, and their number is what costs. Two of this size fill
 * the 64 KiB that libslirp's TCP has under way from the guest, so that one is on its way while the other is acknowledged;
 * with 64 KiB packets each would wait for the one before.
 */
export const MTU = 32_768;
