/** From a network's specification to the device that the VMM makes of it. */

import { parsePublish } from "../spec/publish.ts";
import type { UserNetwork } from "../spec/spec.ts";
import { IPV4, IPV6, MAC, MTU, type Side, serviceAddress } from "./addresses.ts";
import { compileRules } from "./rules.ts";

/** A port of a host for which whoever listens on a Unix socket speaks. */
export interface Service {
  readonly name: string;
  readonly port: number;
  /** Path. */
  readonly socket: string;
}

/** `net-device` of ffi/vmm.cddl. */
export function netDevice(
  network: UserNetwork,
  hostNameServers: readonly string[] = [],
  services: readonly Service[] = [],
): object {
  const side = ({ network, bits, guest, host, nameServer }: Side) => ({
    network: `${network}/${bits}`,
    guest,
    host,
    nameServer,
  });
  return {
    mac: MAC,
    mtu: MTU,
    ipv4: side(IPV4),
    ipv6: side(IPV6),
    hostLoopback: network.hostLoopback,
    nameServers: network.nameServers ?? hostNameServers,
    followsHost: network.nameServers === undefined,
    rules: compileRules(network),
    otherwise: network.allow === undefined,
    maxConnections: network.maxConnections,
    bandwidth: network.bytesPerSecond,
    services: services.length > 0 ? services.map(addressed) : undefined,
    publish: network.publish.map((text, index) => parsePublish(["network", "publish", index], text)),
  };
}

/** With an address for each name. */
function addressed(service: Service, _index: number, all: readonly Service[]): object {
  const names = [...new Set(all.map(({ name }) => name))];
  return { ...service, address: serviceAddress(names.indexOf(service.name)) };
}
