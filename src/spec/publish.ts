/** Ports of the host that lead into a sandbox, as people write them. */

import { isIP } from "node:net";
import { SpecError } from "../errors/errors.ts";
import { below, type Field } from "./problem.ts";

/** `net-publish` of ffi/vmm.cddl. */
interface Publish {
  readonly protocol: "tcp" | "udp";
  readonly address: string;
  readonly port: number;
  readonly guestPort: number;
}

const FORM =
  /^(?:(?<address>[0-9.]+|\[[0-9a-fA-F:.]+\]):)?(?<port>\d{1,5}):(?<guestPort>\d{1,5})(?:\/(?<protocol>tcp|udp))?$/;
const LOOPBACK = "127.0.0.1";
const MAX_PORTS = 16;

/**
 * `[ADDRESS:]PORT:GUEST_PORT[/udp]`: of this machine's loopback unless an address is given; port 0 is any that is free.
 * Throws {@link SpecError}.
 */
export function parsePublish(field: Field, text: string): Publish {
  const found = FORM.exec(text)?.groups;
  const wrong = (why: string) =>
    new SpecError(field, `${JSON.stringify(text)} ${why}`, {
      hint: 'ports look like "8080:80", "0:80" (any that is free), "0.0.0.0:8080:80", "[::1]:5353:53/udp"',
    });
  if (found === undefined) throw wrong("is not [ADDRESS:]PORT:GUEST_PORT");
  const address = (found.address ?? LOOPBACK).replace(/^\[(.*)\]$/, "$1");
  const family = found.address?.startsWith("[") ? 6 : 4;
  if (isIP(address) !== family) throw wrong("has no valid address before its ports");
  const port = Number(found.port);
  const guestPort = Number(found.guestPort);
  if (port > 65535 || guestPort > 65535 || guestPort === 0)
    throw wrong("has a port that is not from 1 to 65535");
  return { protocol: found.protocol === "udp" ? "udp" : "tcp", address, port, guestPort };
}

/** Throws {@link SpecError} for the first that is none, or that takes another's place. */
export function validatePublish(field: Field, ports: readonly string[]): void {
  if (ports.length > MAX_PORTS)
    throw new SpecError(field, `${ports.length} published ports are more than ${MAX_PORTS}`);
  const taken = new Map<string, number>();
  ports.forEach((text, index) => {
    const { protocol, address, port } = parsePublish(below(field, index), text);
    const place = `${address} ${port} ${protocol}`;
    const other = taken.get(place);
    if (port !== 0 && other !== undefined)
      throw new SpecError(
        below(field, index),
        `${JSON.stringify(ports[other])} uses the same port of this machine`,
      );
    taken.set(place, index);
  });
}
