/** Published ports, as a VMM tells them. */

import { map, oneOf, uint, words } from "../wire/fields.ts";
import type { Message } from "../wire/framing.ts";
import type { PublishedPort } from "./spec.ts";

/** `ports` of ffi/vmm.cddl, in the order of `publish`; none where it is absent. */
export function readPorts(message: Message): PublishedPort[] {
  if (message.ports === undefined) return [];
  return Object.entries(map(message.ports, "ports"))
    .sort(([one], [other]) => Number(one) - Number(other))
    .map(([, value]) => {
      const port = map(value, "a port");
      return {
        protocol: oneOf(port, "protocol", ["tcp", "udp"]),
        address: words(port, "address", 64),
        port: uint(port, "port", 65535),
        guestPort: uint(port, "guestPort", 65535),
      };
    });
}
