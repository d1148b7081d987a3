/** What a sandbox with secrets sees of them: placeholders, an authority to trust, and hosts that may be reached. */

import { hostsOf } from "../spec/secret_host.ts";
import type { Secrets, UserNetwork } from "../spec/spec.ts";

/** Where init puts the authority's certificate (guest/protocol.cddl): beside those of the root file system, and alone. */
const BUNDLE = "/etc/ssl/certs/ca-certificates.crt";
const ALONE = "/etc/ssl/certs/capsa.pem";

/** Programs and libraries that look elsewhere, and the variable that tells each where: curl, Git, Python's requests … */
const TRUST: Readonly<Record<string, string>> = {
  SSL_CERT_FILE: BUNDLE,
  CURL_CA_BUNDLE: BUNDLE,
  GIT_SSL_CAINFO: BUNDLE,
  REQUESTS_CA_BUNDLE: BUNDLE,
  PIP_CERT: BUNDLE,
  AWS_CA_BUNDLE: BUNDLE,
  CARGO_HTTP_CAINFO: BUNDLE,
  NODE_EXTRA_CA_CERTS: ALONE,
  DENO_CERT: ALONE,
};

/** A placeholder for each secret, which nobody can guess: whoever has one may have requests made with the value. */
export function makePlaceholders(secrets: Secrets): Record<string, string> {
  const random = () => crypto.getRandomValues(Buffer.alloc(16)).toString("hex");
  return Object.fromEntries(Object.keys(secrets).map((name) => [name, `capsa-secret-${random()}`]));
}

/** The environment with `placeholders`; what a user has set there stays. */
export function secretEnvironment(
  placeholders: Readonly<Record<string, string>>,
  env: Readonly<Record<string, string>>,
): Record<string, string> {
  return { ...TRUST, ...env, ...placeholders };
}

/** The network with the secrets' hosts among what is allowed; what is denied stays denied. */
export function secretNetwork(network: UserNetwork, secrets: Secrets): UserNetwork {
  if (network.allow === undefined) return network;
  const hosts = hostsOf(secrets).map(({ name, port }) => `${name}:${port}`);
  return { ...network, allow: [...new Set([...network.allow, ...hosts])] };
}
