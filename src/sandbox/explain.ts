/** What the rules of a specification would do, before there is a sandbox. */

import { failure, map } from "../agent/fields.ts";
import { decodeCbor, encodeCbor } from "../agent/framing.ts";
import { explainOffline } from "../engine/library.ts";
import { VmmError } from "../errors.ts";
import { placeFields, readExplanation } from "../network/control.ts";
import { netDevice } from "../network/device.ts";
import { hostNetwork } from "../network/host.ts";
import type { NetworkExplanation, NetworkPlace, UserNetwork } from "../network/spec.ts";

/**
 * What would become of packets to a place, by the VMM's own policy: `vm.network.explain` without a sandbox. Throws
 * {@link VmmError} for a place that is none.
 * @example explainNetwork(NetworkMode.UserNat({ allow: ["*.example.org"] }), { host: "a.example.org", port: 443, protocol: "tcp" });
 */
export function explainNetwork(network: UserNetwork, place: NetworkPlace): NetworkExplanation {
  const question = encodeCbor({ net: netDevice(network, hostNetwork()), ...placeFields(place) });
  const answer = decodeCbor(explainOffline(question));
  if (answer.error !== undefined) {
    const { code, message } = failure(answer.error);
    throw new VmmError(code, message);
  }
  return readExplanation(map(answer.result, "a result"));
}
