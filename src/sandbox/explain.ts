/** What the rules of a specification would do, before there is a sandbox. */

import { explainOffline } from "../engine/library.ts";
import { guard } from "../errors/edge.ts";
import { VmmError } from "../errors/errors.ts";
import { placeFields, readExplanation } from "../network/control.ts";
import { netDevice } from "../network/device.ts";
import type { NetworkExplanation, NetworkPlace } from "../network/spec.ts";
import { secretNetwork } from "../secrets/guest.ts";
import { hostsOf } from "../spec/secret_host.ts";
import type { Secrets, UserNetwork } from "../spec/spec.ts";
import { failure, map } from "../wire/fields.ts";
import { decodeCbor, encodeCbor } from "../wire/framing.ts";

/**
 * What would become of packets to a place, by the VMM's own policy: `vm.network.explain` without a sandbox. Throws
 * {@link VmmError} for a place that is none. `secrets`: the sandbox's, whose hosts are allowed, at their ports only.
 * @example explainNetwork(NetworkMode.UserNat({ allow: ["*.example.org"] }), { host: "a.example.org", port: 443, protocol: "tcp" });
 */
export function explainNetwork(
  network: UserNetwork,
  place: NetworkPlace,
  secrets: Secrets = {},
): NetworkExplanation {
  return guard("explainNetwork", [], () => explain(network, place, secrets));
}

function explain(network: UserNetwork, place: NetworkPlace, secrets: Secrets): NetworkExplanation {
  const services = hostsOf(secrets).map((host) => ({ ...host, socket: "/" }));
  const net = netDevice(secretNetwork(network, secrets), [], services);
  const question = encodeCbor({ net, ...placeFields(place) });
  const answer = decodeCbor(explainOffline(question));
  if (answer.error !== undefined) {
    const { code, message } = failure(answer.error);
    throw new VmmError(code, message);
  }
  return readExplanation(map(answer.result, "a result"));
}
