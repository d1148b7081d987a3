/** Private networks: cables between sandboxes of this user, and the addresses on them. */

import { SpecError } from "../errors/errors.ts";
import type { JoinedNetwork, PrivateNetwork } from "../spec/spec.ts";
import { MTU } from "./addresses.ts";

/** A sandbox's place on a network, as the registry keeps it. */
export interface LanMember extends JoinedNetwork {
  /** Of the network among those there are, 1 to 254: the third byte of its addresses. */
  readonly subnet: number;
  /** Of the sandbox on it, 2 to 254: the last byte. */
  readonly number: number;
  /** Path of the Unix socket on which its VMM takes those who join later, and what they have to know, in hex. */
  readonly socket: string;
  readonly token: string;
}

/** A place that was taken, and who was there before. */
export interface Lan {
  readonly self: LanMember;
  readonly peers: readonly LanMember[];
}

const MOST_MEMBERS = 32;
const NAME_SERVER = 1;
const FIRST_MEMBER = 2;

const ipv4 = (subnet: number, number: number) => `10.202.${subnet}.${number}`;
const ipv6 = (subnet: number, number: number) =>
  `fd63:6170:7361:${subnet.toString(16)}::${number.toString(16)}`;
/** Locally administered; its letters are those of "cpn". */
const mac = ({ subnet, number }: LanMember) => Uint8Array.of(0x02, 0x63, 0x70, 0x6e, subnet, number);

function isSame(one: PrivateNetwork, other: PrivateNetwork): boolean {
  return one.name === other.name && one.scope === other.scope;
}

/**
 * A place on a network, beside `others`, who are on any. Throws {@link SpecError} when it is full, or the name is
 * another's there.
 */
export function takeLan(network: JoinedNetwork, others: readonly LanMember[], socket: string): Lan {
  const peers = others.filter((other) => isSame(other, network));
  const field = "networks";
  if (peers.some(({ as }) => as === network.as))
    throw new SpecError(field, `the network "${network.name}" already has a member "${network.as}"`, {
      hint: "end that sandbox, or give this one another name",
    });
  if (peers.length >= MOST_MEMBERS)
    throw new SpecError(
      field,
      `the network "${network.name}" already has ${MOST_MEMBERS} members, which is the limit`,
    );
  const subnet =
    peers[0]?.subnet ??
    firstFree(
      others.map(({ subnet }) => subnet),
      1,
    );
  const number = firstFree(
    peers.map(({ number }) => number),
    FIRST_MEMBER,
  );
  if (subnet === undefined || number === undefined)
    throw new SpecError(field, "254 private networks exist, which is the limit");
  const token = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("hex");
  return { self: { ...network, subnet, number, socket, token }, peers };
}

function firstFree(taken: readonly number[], first: number): number | undefined {
  const all = new Set(taken);
  for (let number = first; number < 255; number++) if (!all.has(number)) return number;
  return undefined;
}

/** `lan-device` of ffi/vmm.cddl. */
export function lanDevice({ self, peers }: Lan): object {
  const member = (one: LanMember) => ({
    name: one.as,
    mac: mac(one),
    ipv4: ipv4(one.subnet, one.number),
    ipv6: ipv6(one.subnet, one.number),
    token: Buffer.from(one.token, "hex"),
  });
  return {
    mtu: MTU,
    ...member(self),
    nameServer4: ipv4(self.subnet, NAME_SERVER),
    nameServer6: ipv6(self.subnet, NAME_SERVER),
    peers: peers.map((peer) => ({ socket: peer.socket, ...member(peer) })),
  };
}

/** `lan` of guest/protocol.cddl; `asksHere`: its name server is the guest's. */
export function guestLan({ self }: Lan, asksHere: boolean): object {
  const { subnet, number } = self;
  return {
    mac: mac(self),
    ipv4: { address: ipv4(subnet, number), prefix: 24 },
    ipv6: { address: ipv6(subnet, number), prefix: 64 },
    nameServer: asksHere ? ipv4(subnet, NAME_SERVER) : undefined,
  };
}
