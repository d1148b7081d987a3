/** The network of a sandbox as plain data: what it is to be, and what it tells. */

/** The host's network by user-mode NAT: the sandbox's connections are sockets of its VMM. */
export interface UserNetwork {
  readonly mode: "user";
  /**
   * What may be reached, and nothing else: `"registry.example:443"`, `"*.example.org:443"`, `"10.0.0.0/8:5432"`,
   * `"192.0.2.1:53/udp"`. Absent: everything but the host itself, link-local and metadata addresses.
   */
  readonly allow?: readonly string[];
  /** What may not be reached, whatever is allowed; as above. */
  readonly deny: readonly string[];
  /** Ports of the host that lead to ports of the guest: `"8080:80"`, `"0:80"`, `"0.0.0.0:53:53/udp"`. */
  readonly publish: readonly string[];
  /** At most three name servers to ask, by address; absent: the host's. */
  readonly nameServers?: readonly string[];
  /** The guest's gateway, 10.0.2.2, leads to the host's loopback. */
  readonly hostLoopback: boolean;
}

export type NetworkSpec = "none" | UserNetwork;

/** A port of the host that leads into the sandbox. */
export interface PublishedPort {
  readonly protocol: "tcp" | "udp";
  /** On the host. */
  readonly address: string;
  readonly port: number;
  readonly guestPort: number;
}

/** Something that the sandbox's network policy did not let through. */
export interface NetworkRefusal {
  /** `dns`: a name that was asked for; `frame`: a packet that is forged, broken or of no use. */
  readonly protocol: "tcp" | "udp" | "icmp" | "dns" | "frame";
  readonly address?: string;
  readonly port?: number;
  /** The name that led to the address, or was asked for. */
  readonly name?: string;
  readonly why: string;
  /** The rule for `allow` that would let it through, where one can. */
  readonly allow?: string;
}
