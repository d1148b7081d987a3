/** What the network of a sandbox tells, and takes, while it runs. */

import type { UserNetwork } from "../spec/spec.ts";

/** A port of the host that leads into the sandbox. */
export interface PublishedPort {
  readonly protocol: "tcp" | "udp";
  /** On the host. */
  readonly address: string;
  readonly port: number;
  readonly guestPort: number;
}

/** Something that the sandbox's network policy did not let through, or that failed. */
export interface NetworkRefusal {
  /** `dns`: a name that was asked for; `frame`: a packet that is forged, broken or of no use. */
  readonly protocol: "tcp" | "udp" | "icmp" | "dns" | "frame";
  readonly address?: string;
  readonly port?: number;
  /** The name that led to the address, or was asked for. */
  readonly name?: string;
  readonly why: string;
  /** Nothing refused it, and no rule mends it: `why` is what went wrong, such as a name server that is silent. */
  readonly failed?: true;
  /** The rule for `allow` that would let it through, where one can. */
  readonly allow?: string;
}

/** Something that a rule of `log` let through. */
export interface NetworkAccess {
  /** `dns`: a name that was asked for. */
  readonly protocol: "tcp" | "udp" | "icmp" | "dns";
  readonly address?: string;
  readonly port?: number;
  /** The address is a private one or the like, to which a name may lead only where a rule is for the address. */
  readonly inside: boolean;
  /** The name that led to the address, or was asked for. */
  readonly name?: string;
  /** The rule for `allow` that would let through just this. */
  readonly allow: string;
}

/** A rule as it is enforced: to a name or to a network, never both. */
export interface EnforcedRule {
  readonly allow: boolean;
  /** Of what it allows somebody is told. */
  readonly log: boolean;
  /** Only where the address is this machine's own, as its kernel says when a connection begins. */
  readonly own: boolean;
  /** As it was written; absent: it is capsa's own, about addresses that only a rule for them opens. */
  readonly text?: string;
  readonly name?: string;
  readonly network?: string;
  /** Absent: all. */
  readonly protocol?: "tcp" | "udp" | "icmp";
  readonly firstPort: number;
  readonly lastPort: number;
  /** What a refusal by it says. */
  readonly why?: string;
}

/** The network of a sandbox as it is now. */
export interface NetworkState {
  /** What may be reached, and nothing else; absent: everything. As written. */
  readonly allow?: readonly string[];
  readonly deny: readonly string[];
  readonly log: readonly string[];
  /** What these were made into: the first that matches decides. */
  readonly rules: readonly EnforcedRule[];
  readonly hostLoopback: boolean;
  /** The host's, which are asked. */
  readonly nameServers: readonly string[];
  readonly ports: readonly PublishedPort[];
}

/** What has crossed the cable of a sandbox since its start; bytes with Ethernet headers. */
export interface NetworkCounters {
  readonly fromGuest: { readonly packets: number; readonly bytes: number };
  readonly toGuest: { readonly packets: number; readonly bytes: number };
  /** Packets and names, each time. */
  readonly refused: number;
  /** TCP, open or opening now, and ports of the guest that have sent datagrams or echo requests of late. */
  readonly connections: number;
  readonly maxConnections: number;
}

/** Lists to take the place of those in force; absent: as it is. */
export type NetworkUpdate = Partial<Pick<UserNetwork, "allow" | "deny" | "log">>;

/** A destination as one asks about it. */
export interface NetworkPlace {
  /** A name or an address. */
  readonly host: string;
  readonly protocol: "tcp" | "udp" | "icmp";
  /** Without for ICMP. */
  readonly port?: number;
}

/** What becomes of packets to a place, and who says so. */
export interface NetworkExplanation {
  readonly allowed: boolean;
  /** `place`: one that no rule is asked about; `rule`: that rule; `otherwise`: what holds where no rule matches. */
  readonly by: "place" | "rule" | "otherwise";
  /** It is about the name's being asked for, before there is any packet. */
  readonly question: boolean;
  /** Of a refusal. */
  readonly why?: string;
  /** It is about this IPv4 address, which lies in the one of IPv6 that was asked about (NAT64, 6to4 and the like). */
  readonly about?: string;
  readonly rule?: EnforcedRule;
}

/** The network of a sandbox that runs. Calls reject with `VmmError`: `ENODEV` where it has none. */
export interface SandboxNetwork {
  /**
   * The rules in force, the published ports, the name servers.
   * @example const { allow, deny } = await vm.network.state();
   */
  state(): Promise<NetworkState>;

  /**
   * Other rules, from now on: connections that they do not allow are cut. Rejects with `SpecError` for what is no rule,
   * with the old ones in force.
   * @example await vm.network.update({ allow: ["registry.npmjs.org:443"] });
   */
  update(change: NetworkUpdate): Promise<void>;

  /**
   * What has crossed the cable, and how many connections there are.
   * @example const { toGuest } = await vm.network.counters(); console.log(toGuest.bytes);
   */
  counters(): Promise<NetworkCounters>;

  /**
   * What would become of packets to a place, and which rule decides. A name counts as one that leads into the Internet.
   * @example const { allowed, rule } = await vm.network.explain({ host: "example.org", port: 443, protocol: "tcp" });
   */
  explain(place: NetworkPlace): Promise<NetworkExplanation>;
}
