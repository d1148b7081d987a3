/** Keys of what a sandbox can reach: its network, private networks, and secrets for hosts. */
import { isIP } from "node:net";
import { resolve } from "node:path";
import { Type } from "@sinclair/typebox";
import { unexpanded } from "../host/written.ts";
import { closed, flag, NAME, NAME_WORDS, optional, texts, VARIABLE, words } from "./forms.ts";
import { type Context, type Key, quantity, resolveTable, type Side, tableSchema } from "./key.ts";
import { type Path, reporting } from "./problem.ts";
import { validatePublish } from "./publish.ts";
import { validateRules } from "./rules.ts";
import { checkHeader, parseHost } from "./secret_host.ts";
import type { JoinedNetwork, NetworkSpec, SecretSpec, UserNetwork } from "./spec.ts";
import { BANDWIDTH } from "./units.ts";

/** That a sandbox can be on. */
const MOST_NETWORKS = 4;
const MOST_NAME_SERVERS = 3;

const rules = (name: "allow" | "deny" | "log", description: string): Key => ({
  name,
  ...(name === "allow" ? {} : { default: [] }),
  schema: texts(description, 'a rule such as "example.org:443"', '["example.org:443", "10.0.0.0/8:5432"]'),
  parse: (given: string[], path, { report }) => {
    reporting(report, path, () => validateRules([], given));
    return given;
  },
});

const KEYS: readonly Key[] = [
  rules(
    "allow",
    "Only what the sandbox may reach. Default: everything except this machine, link-local and metadata " +
      "addresses. A rule is HOST[:PORT[-PORT]][/udp]. HOST is a name, *.DOMAIN, *, an address or a network.",
  ),
  rules("deny", "What the sandbox may not reach. These rules win over `allow`."),
  rules(
    "log",
    "What the network lets through, as `allow` does, and logs for `capsa logs --network NAME`. If everything " +
      "is allowed, these rules close nothing.",
  ),
  {
    name: "publish",
    default: [],
    schema: texts(
      "Ports of this machine that lead into the guest: [ADDRESS:]PORT:GUEST_PORT[/udp]. The default address is " +
        "loopback. Port 0 means any free port.",
      'a port such as "8080:80"',
      '["8080:80", "0.0.0.0:53:53/udp"]',
    ),
    parse: (given: string[], path, { report }) => {
      reporting(report, path, () => validatePublish([], given));
      return given;
    },
  },
  {
    name: "nameServers",
    schema: texts(
      "At most three name servers, by address (default: this machine's).",
      'an address such as "192.0.2.53"',
      '["192.0.2.53"]',
    ),
    parse: (given: string[], path, { report }) => {
      if (given.length > MOST_NAME_SERVERS)
        report(path, `${given.length} are more than ${MOST_NAME_SERVERS}`);
      given.forEach((address, index) => {
        if (isIP(address) === 0) report([...path, index], `${JSON.stringify(address)} is no address`);
      });
      return given;
    },
  },
  quantity({
    name: "maxConnections",
    least: 1,
    most: 4096,
    words:
      "Most connections at a time. TCP counts, with published ports, and so do up to 256 ports that send " +
      "datagrams (default 4096)",
  }),
  quantity({
    name: "bandwidth",
    field: "bytesPerSecond",
    unit: BANDWIDTH,
    least: 8000,
    most: 1e12,
    example: "10Mbit",
    words:
      'Most data per second in each direction: bits ("10Mbit") or bytes ("1.5MB"), in powers of 1000 (default: ' +
      "no limit)",
  }),
  {
    name: "hostLoopback",
    default: false,
    schema: flag("true: the guest reaches this machine's loopback at 10.0.2.2 (default false)."),
  },
];

const KIND: Key = { field: "mode", schema: Type.Literal("user", { expected: '"user"' }) };
const table = (side: Side) =>
  tableSchema([KIND, ...KEYS], side, { expected: `a table of ${KEYS.map(({ name }) => name).join(", ")}` });
const DESCRIBED = {
  description:
    "none (the default): the guest has no network device. user: the host's network, through sockets of the " +
    "sandbox's process. A table: the same, with limits.",
  expected: '"none", "user" or a table such as { allow = ["example.org:443"] }',
};

export const NETWORK: Key = {
  name: "network",
  default: "none",
  schema: Type.Union([words(["none", "user"], ""), table("toml")], DESCRIBED),
  plain: Type.Union([words(["none", "user"], ""), table("typescript")], DESCRIBED),
  parse: (given: string | Record<string, unknown>, path, context) => {
    if (given === "none") return given;
    return { mode: "user", ...resolveTable(KEYS, typeof given === "string" ? {} : given, path, context) };
  },
  tell: (network: NetworkSpec) => ({
    network:
      network === "none" ? "none" : { allow: network.allow ?? "everything outside", deny: network.deny },
  }),
};

/** A network with its defaults and nothing else. */
export const USER_NETWORK = resolveTable(KEYS, {}, [], {
  side: "typescript",
  report: () => {},
}) as unknown as Omit<UserNetwork, "mode">;

const networkName = Type.String({ pattern: NAME, expected: `the name of a network: ${NAME_WORDS}` });

export const NETWORKS: Key = {
  name: "networks",
  schema: Type.Array(networkName, {
    description:
      "At most four private networks, by names that you choose. Sandboxes of this file on the same network reach " +
      "each other by name. Nothing else is on it.",
    expected: 'a list of names such as ["backend"]',
  }),
  plain: Type.Array(
    Type.Object(
      {
        name: networkName,
        scope: Type.String({ expected: "a text" }),
        as: optional(Type.String({ pattern: NAME, expected: `a name of ${NAME_WORDS}` })),
      },
      { ...closed, expected: "a network that Capsa.network() has made" },
    ),
    { expected: "a list of networks" },
  ),
  parse: (given: (string | JoinedNetwork)[], path, { report, file = "", name = "" }) => {
    const joined = given.map((one) => ({
      as: name,
      ...(typeof one === "string" ? { name: one, scope: file } : one),
    }));
    if (joined.length > MOST_NETWORKS) report(path, `${joined.length} are more than ${MOST_NETWORKS}`);
    joined.forEach((network, index) => {
      const isAgain = joined
        .slice(0, index)
        .some((other) => other.name === network.name && other.scope === network.scope);
      if (isAgain) report([...path, index], `"${network.name}" is there already`);
    });
    return joined;
  },
  tell: (networks: readonly JoinedNetwork[]) => ({ privateNetworks: networks.map(({ name }) => name) }),
};

const SECRET_KEYS: readonly Key[] = [
  {
    name: "from",
    required: true,
    schema: Type.String({
      pattern: "^(env:[^=\\x00]+|file:[^\\x00]+)$",
      description:
        "Where capsa finds the value: env:NAME is a variable of capsa's environment, file:PATH is a file. A " +
        "relative path starts at the directory of this file. capsa reads the value at the start.",
      expected: '"env:NAME" or "file:PATH"',
    }),
    parse: parseFrom,
  },
  {
    name: "hosts",
    required: true,
    schema: Type.Array(Type.String({ expected: 'a host such as "api.example.org:443"' }), {
      minItems: 1,
      description:
        "The only hosts that get the value, over TLS: names with a port (default 443). They need no rule in " +
        "network.allow.",
      expected: 'a list of hosts such as ["api.example.org:443"]',
    }),
    parse: (given: string[], path, { report }) => {
      given.forEach((host, index) => {
        reporting(report, [...path, index], () => parseHost([], host));
      });
      return given;
    },
  },
  {
    name: "header",
    schema: Type.String({
      minLength: 1,
      description: 'The only header that may hold the secret, such as "Authorization" (default: any).',
      expected: 'the name of a header, such as "Authorization"',
    }),
    parse: (given: string, path, { report }) => {
      reporting(report, path, () => checkHeader(given));
      return given;
    },
  },
];

/** A relative path starts where those of the file do. */
function parseFrom(given: string, path: Path, { report, base }: Context): string {
  if (!given.startsWith("file:")) return given;
  const file = given.slice("file:".length);
  const [why, mend] = unexpanded(file) ?? [];
  if (why !== undefined) report(path, why, mend);
  return `file:${resolve(base ?? "", file)}`;
}

export const SECRETS: Key = {
  name: "secrets",
  schema: Type.Record(
    Type.String({ pattern: VARIABLE }),
    tableSchema(SECRET_KEYS, "toml", {
      description: "A value that programs of the sandbox use but never see.",
      expected: 'a table such as { from = "env:TOKEN", hosts = ["api.example.org:443"] }',
    }),
    {
      ...closed,
      description:
        "Secrets that never enter the guest. The variable NAME holds a placeholder. A proxy replaces it with the " +
        "value on the way to the secret's hosts.",
      names: "that of a variable, such as API_TOKEN",
      expected: "[sandbox.NAME.secrets.SECRET] tables",
    },
  ),
  parse: (given: Record<string, SecretSpec>, path, context) =>
    Object.fromEntries(
      Object.entries(given).map(([name, secret]) => [
        name,
        resolveTable(SECRET_KEYS, { ...secret }, [...path, name], context),
      ]),
    ),
};
