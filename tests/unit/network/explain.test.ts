/** What rules would do, asked without a sandbox: the monitor's own policy answers. */

import { describe, expect, test } from "bun:test";
import { changed, describeExplanation } from "../../../src/cli/verbs/network.ts";
import { explainOffline } from "../../../src/engine/library.ts";
import { explainNetwork, NetworkMode, type UserNatOptions } from "../../../src/index.ts";
import { netDevice } from "../../../src/network/device.ts";
import { parsePlace } from "../../../src/network/rules.ts";
import { decodeCbor, encodeCbor } from "../../../src/wire/framing.ts";

function explain(network: UserNatOptions, place: string): string {
  const parsed = parsePlace("place", place);
  return describeExplanation(parsed, explainNetwork(NetworkMode.UserNat(network), parsed));
}

const within = {
  allow: [
    "registry.example",
    "*.example.org:443",
    "10.0.0.0/8:5432",
    "192.0.2.1:53/udp",
    "169.254.169.254:80",
  ],
  deny: ["bad.example.org", "10.9.0.0/16"],
  log: ["told.example"],
};

test("a secret's host is allowed, at its port only", () => {
  const secrets = { TOKEN: { from: "env:TOKEN", hosts: ["api.example:8443"] } };
  const ask = (network: UserNatOptions, place: string) => {
    const parsed = parsePlace("place", place);
    return describeExplanation(parsed, explainNetwork(NetworkMode.UserNat(network), parsed, secrets));
  };
  expect(ask({ allow: [] }, "api.example:8443")).toContain('by the rule allow = ["api.example:8443"]');
  expect(ask({}, "api.example:443")).toContain("at the secret's port only");
  expect(ask({ allow: [], deny: ["api.example"] }, "api.example:8443")).toContain('deny = ["api.example"]');
});

describe("services that cannot be are refused by the monitor", () => {
  const whole = { name: "api.example", address: "10.0.2.64", port: 443, socket: "/run/it" };
  const other = { ...whole, name: "other.example", address: "10.0.2.65" };
  const cases: [what: string, services: object[], why: string][] = [
    ["without a name", [{ ...whole, name: "" }], "no length"],
    ["at a relative path", [{ ...whole, socket: "it" }], "absolute path"],
    ["at a path too long", [{ ...whole, socket: `/${"x".repeat(108)}` }], "more than 107 bytes"],
    ["outside of the network", [{ ...whole, address: "192.0.2.1" }], "outside of its IPv4 network"],
    ["of IPv6", [{ ...whole, address: "fd63:6170:7361::64" }], "outside of its IPv4 network"],
    ["in the gateway's place", [{ ...whole, address: "10.0.2.2" }], "another's place"],
    ["in the guest's", [{ ...whole, address: "10.0.2.15" }], "another's place"],
    ["twice", [whole, whole], "each other's place"],
    ["of one name at two addresses", [whole, { ...whole, address: "10.0.2.66" }], "each other's place"],
    ["of two names at one address", [whole, { ...other, address: "10.0.2.64" }], "each other's place"],
    [
      "too many",
      Array.from({ length: 65 }, (_, index) => ({ ...whole, port: 1 + index })),
      "more than 64 items",
    ],
  ];
  const ask = (services: object[]): { result?: unknown; error?: { message: string } } => {
    const net = { ...netDevice(NetworkMode.UserNat()), services };
    return decodeCbor(explainOffline(encodeCbor({ net, host: "a.example", protocol: "tcp", port: 1 })));
  };
  test.each(cases)("%s", (_what, services, why) => {
    expect(ask(services).error?.message).toContain(why);
  });

  test("and others are not", () => {
    expect(ask([whole, { ...whole, port: 8443 }, other]).result).toBeDefined();
  });
});

describe("within limits", () => {
  const cases: [place: string, said: string][] = [
    ["told.example:1", 'is allowed and told, by the rule log = ["told.example"]'],
    ["registry.example:443", 'is allowed by the rule allow = ["registry.example"]'],
    ["Registry.Example.:443", 'is allowed by the rule allow = ["registry.example"]'],
    ["a.example.org:443", 'is allowed by the rule allow = ["*.example.org:443"]'],
    ["a.example.org:80", 'is refused: no rule of allow is for it; to allow it: allow = ["a.example.org:80"]'],
    ["a.example.org:443/udp", "is refused: no rule of allow is for it"],
    [
      "example.org:443",
      "is refused: the name would not be resolved, so nothing is sent: no rule of allow is for it",
    ],
    ["bad.example.org:443", 'nothing is sent: by the rule deny = ["bad.example.org"]'],
    ["10.1.2.3:5432", 'is allowed by the rule allow = ["10.0.0.0/8:5432"]'],
    ["10.9.2.3:5432", 'is refused: by the rule deny = ["10.9.0.0/16"]'],
    [
      "[64:ff9b::a09:203]:80",
      'is refused: no rule of allow is for it; to allow it: allow = ["[64:ff9b::a09:203]:80"]',
    ],
    ["192.0.2.1:53/udp", 'is allowed by the rule allow = ["192.0.2.1:53/udp"]'],
    ["169.254.169.254:80", 'is allowed by the rule allow = ["169.254.169.254:80"]'],
    ["169.254.169.254:443", "is refused: a link-local address"],
    ["[2001:db8::1]:443", 'to allow it: allow = ["[2001:db8::1]:443"]'],
    ["192.0.2.1/icmp", "is refused: no rule of allow is for it"],
  ];
  for (const [place, said] of cases) test(place, () => expect(explain(within, place)).toContain(said));
});

describe("an open network", () => {
  const cases: [place: string, said: string][] = [
    ["example.org:443", "is allowed: there is no allow list"],
    ["192.0.2.1/icmp", "is allowed: there is no allow list"],
    ["100.100.100.200:80", "is refused: a cloud's metadata service"],
    ["168.63.129.16:80", "is refused: a cloud's own service for its machines"],
    ["[fd00:ec2::23]:80", "is refused: a cloud's own services for its machines"],
    ["[64:ff9b::a9fe:a9fe]:80", "is refused, as 169.254.169.254:80 lies in it: a link-local address"],
    ["[2002:a83f:8110::1]:80", 'to allow it: allow = ["168.63.129.16:80"]'],
    ["[64:ff9b::c000:201]:80", "is allowed: there is no allow list"],
    ["127.0.0.1:22", "is refused: an address that never leaves a machine"],
    ["224.0.0.1:5353/udp", "is refused: an address that never leaves a machine"],
    ["10.0.2.2:22", "is refused: the host's own services are reached with hostLoopback = true only"],
    ["10.0.2.9:22", "is refused: there is nothing at this address"],
    ["10.0.2.3:53/udp", "is allowed: it is the sandbox's own gateway or name server"],
    ["10.0.2.3:53", "is allowed: it is the sandbox's own gateway or name server"],
    ["[fd63:6170:7361::3]:53", "is refused: the name server answers over TCP by IPv4 only"],
    ["2001:db8::1/icmp", "is refused: echo requests over IPv6"],
  ];
  for (const [place, said] of cases) test(place, () => expect(explain({}, place)).toContain(said));

  test("with the host's loopback in it", () => {
    expect(explain({ hostLoopback: true, allow: ["10.0.2.2:22"] }, "10.0.2.2:22")).toContain("is allowed by");
    expect(explain({ hostLoopback: true, allow: ["10.0.2.2:22"] }, "10.0.2.2:23")).toContain(
      "no rule of allow",
    );
  });
});

test("who denies a network denies it in addresses of IPv6 that carry it", () => {
  const deny = ["10.0.0.0/8"];
  for (const address of ["64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::", "2001:db8::5efe:a00:1"])
    expect(explain({ deny }, `[${address}]:80`)).toContain(
      'is refused, as 10.0.0.1:80 lies in it: by the rule deny = ["10.0.0.0/8"]',
    );
  expect(explain({ allow: ["64:ff9b::/96", "10.0.0.1:80"] }, "[64:ff9b::a00:1]:80")).toContain(
    "is allowed by",
  );
  expect(explain({ deny: ["::/0"] }, "example.org:80")).toContain("is allowed"); // by IPv4
});

test("a rule for all addresses is one for whatever a name leads to, if the name may be asked for", () => {
  expect(explain({ allow: ["a.test:1", "0.0.0.0/0:443"] }, "a.test:443")).toContain('["0.0.0.0/0:443"]');
  expect(explain({ allow: ["0.0.0.0/0:443"] }, "a.test:443")).toContain("would not be resolved");
  expect(explain({ allow: ["*:443"] }, "a.test:443")).toContain('["*:443"]');
});

test("a place is one name or address, with one port", () => {
  for (const text of [
    "example.org",
    "*.example.org:443",
    "*:443",
    "10.0.0.0/8:443",
    "a.test:1-2",
    "a.test/udp",
    "a b",
  ])
    expect(() => parsePlace("--explain", text)).toThrow("--explain: ");
  expect(parsePlace("p", "10.0.0.1/32:443")).toEqual({ host: "10.0.0.1", protocol: "tcp", port: 443 });
});

test("the VMM's own words for what is no question", () => {
  const network = NetworkMode.UserNat();
  expect(() => explainNetwork(network, { host: "a.test", protocol: "tcp" })).toThrow(
    "needs a port from 1 to 65535",
  );
  expect(() => explainNetwork(network, { host: "", protocol: "tcp", port: 1 })).toThrow("needs a host");
  expect(() => explainNetwork(network, { host: "a.test", protocol: "sctp" as "tcp", port: 1 })).toThrow(
    'protocol is "sctp"; allowed are tcp, udp, icmp',
  );
});

describe("what is said last of a rule holds", () => {
  const none = { allow: [], deny: [], log: [] };
  test("it leaves the list that it is in", () => {
    const state = { allow: ["a", "b"], deny: ["c"], log: ["d"] };
    expect(changed(state, { allow: ["c", "a"], deny: ["b"], log: [] })).toEqual({
      allow: ["c", "a"],
      deny: ["b"],
      log: ["d"],
    });
    expect(changed(state, { ...none, log: ["a"] })).toEqual({ allow: ["b"], deny: ["c"], log: ["d", "a"] });
  });
  test("allowing more where everything is allowed narrows nothing", () => {
    const open = { deny: ["c"], log: [] };
    expect(changed(open, { ...none, allow: ["10.0.0.1"] })).toEqual({ ...open, allow: ["*", "10.0.0.1"] });
    expect(changed(open, { ...none, deny: ["a"] })).toEqual({ deny: ["c", "a"], log: [] });
  });
  test("but not of one that is said twice", () => {
    expect(() => changed({ deny: [], log: [] }, { ...none, allow: ["a"], deny: ["a"] })).toThrow(
      "a is given more",
    );
  });
});
