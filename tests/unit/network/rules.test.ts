/** Rules and published ports: from what people write to what the VMM enforces. */

import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hostNames } from "../../../src/network/host.ts";
import { compileRules } from "../../../src/network/rules.ts";
import { parsePublish, validatePublish } from "../../../src/spec/publish.ts";
import { parseTarget, validateRules } from "../../../src/spec/rules.ts";
import type { UserNetwork } from "../../../src/spec/spec.ts";

const OPEN: UserNetwork = { mode: "user", deny: [], log: [], publish: [], hostLoopback: false };

describe("a rule", () => {
  const tcp = (port: number) => ({ protocol: "tcp", firstPort: port, lastPort: port });
  const good: [text: string, target: object][] = [
    ["registry.example:443", { name: "registry.example", ...tcp(443) }],
    ["Registry.Example.:443", { name: "registry.example", ...tcp(443) }],
    ["*.example.org:443", { name: "*.example.org", ...tcp(443) }],
    ["*", { name: "*" }],
    ["localhost", { name: "localhost" }],
    ["_dmarc.example.org/udp", { name: "_dmarc.example.org", protocol: "udp" }],
    ["10.0.0.0/8:5432", { network: "10.0.0.0/8", ...tcp(5432) }],
    ["10.0.0.1", { network: "10.0.0.1/32" }],
    ["10.0.0.1/icmp", { network: "10.0.0.1/32", protocol: "icmp" }],
    ["192.0.2.1:53/udp", { network: "192.0.2.1/32", protocol: "udp", firstPort: 53, lastPort: 53 }],
    ["192.0.2.1:8000-8999", { network: "192.0.2.1/32", protocol: "tcp", firstPort: 8000, lastPort: 8999 }],
    ["[2001:db8::1]:443", { network: "2001:db8::1/128", ...tcp(443) }],
    ["[2001:db8::]/32:443", { network: "2001:db8::/32", ...tcp(443) }],
    ["2001:db8::/32", { network: "2001:db8::/32" }],
    ["2001:db8::53", { network: "2001:db8::53/128" }],
    ["2001:db8::1:443/128", { network: "2001:db8::1:443/128" }],
    ["[2001:db8::1:443]", { network: "2001:db8::1:443/128" }],
    ["2001:db8::1:443/icmp", { network: "2001:db8::1:443/128", protocol: "icmp" }],
    ["::/0", { network: "::/0" }],
  ];
  for (const [text, target] of good) {
    test(text, () => expect(parseTarget("allow[0]", text)).toEqual(target));
  }

  const bad: [text: string, why: string][] = [
    ["", "is not HOST"],
    [":443", "is not HOST"],
    ["example.org:", "is not HOST"],
    ["https://example.org", "is not HOST"],
    ["example.org:443/sctp", "is not HOST"],
    ["example.org:0", "from 1 to 65535"],
    ["example.org:65536", "from 1 to 65535"],
    ["example.org:20-10", "ends before it begins"],
    ["example.org:7/icmp", "ICMP has no ports"],
    ["example.org/8", "no IP address before"],
    ["[example.org]:443", "no IP address before"],
    ["10.0.0.0/33", "more than 32 bits"],
    ["::/129", "more than 128 bits"],
    ["10.0.0", "names no valid host"],
    ["10.0.0.1.5", "names no valid host"],
    ["host.10", "names no valid host"],
    ["10.0.0.1-10.0.0.9", 'write the network, such as "10.0.0.0/28"'],
    ["10.0.0.1-9:443", "is a range of addresses"],
    ["127.0.0.1", "is the sandbox itself"],
    ["127.0.0.0/8:5432", "is the sandbox itself"],
    ["[::1]:5432", "is the sandbox itself"],
    ["localhost:5432", "is the sandbox itself"],
    ["2001:db8::1:443", 'write "[2001:db8::1]:443", or "[2001:db8::1:443]"'],
    ["2001:db8:1:2:3:4:5:6:443/udp", 'write "[2001:db8:1:2:3:4:5:6]:443"'],
    ["a..b", "names no valid host"],
    ["bücher.example", "names no valid host"],
    ["*.*.example", "names no valid host"],
    ["*example.org", "names no valid host"],
    [`${"a".repeat(64)}.example`, "names no valid host"],
  ];
  for (const [text, why] of bad) {
    test(`not ${JSON.stringify(text)}`, () => {
      expect(() => validateRules("allow", ["ok.example", text])).toThrow(why);
      expect(() => validateRules("allow", ["ok.example", text])).toThrow("allow[1]: ");
    });
  }

  test("there is an end to them", () => {
    expect(() => validateRules("deny", Array(201).fill("a.example"))).toThrow("201 rules are more than 200");
  });
});

describe("the table", () => {
  const table = (network: Partial<UserNetwork>) =>
    compileRules({ ...OPEN, ...network }).map(
      ({ allow, own, name, network, firstPort }) =>
        `${allow ? "+" : "-"}${own ? "own " : ""}${name ?? network}${firstPort === undefined ? "" : `:${firstPort}`}`,
    );
  const guards = [
    "-169.254.0.0/16",
    "-fe80::/10",
    "-100.100.100.200/32",
    "-168.63.129.16/32",
    "-192.0.0.192/32",
    "-fd00:ec2::/32",
    "-fd00:42::42/128",
    "-fd20:ce::254/128",
  ];
  const own = ["-own 0.0.0.0/0", "-own ::/0"];

  test("has guards, and the host's own addresses among them, in front of what is allowed", () => {
    expect(table({})).toEqual([...own, ...guards]);
    expect(table({ hostLoopback: true, allow: ["192.0.2.9:22"] })).toEqual([...guards, "+192.0.2.9/32:22"]);
    expect(table({ allow: ["0.0.0.0/0:80"] })).toEqual([...own, ...guards, "+0.0.0.0/0:80"]);
  });

  test("what is denied comes first; a rule for a guarded address itself comes before its guard", () => {
    const allow = [
      "a.example:443",
      "169.254.169.254:80",
      "169.254.0.0/17",
      "169.0.0.0/8",
      "[2001:db8::9]:22",
    ];
    expect(table({ allow, deny: ["b.example", "10.0.0.0/8"] })).toEqual([
      "-b.example",
      "-10.0.0.0/8",
      "+own 169.254.169.254/32:80",
      "+own 2001:db8::9/128:22",
      ...own,
      "+169.254.169.254/32:80",
      "+169.254.0.0/17",
      ...guards,
      "+a.example:443",
      "+169.0.0.0/8",
      "+2001:db8::9/128:22",
    ]);
  });

  test("what is told of is asked for before what is allowed, and opens guarded places as that does", () => {
    const network = { ...OPEN, log: ["a.example", "169.254.169.254:80"], allow: ["*.example"] };
    const rules = compileRules(network).filter(({ allow, own }) => allow && !own);
    expect(rules.map(({ text, log }) => [text, log])).toEqual([
      ["169.254.169.254:80", true],
      ["a.example", true],
      ["*.example", undefined],
    ]);
  });

  test("* is every name and every address", () => {
    expect(table({ allow: ["*:443"] }).slice(guards.length + own.length)).toEqual([
      "+*:443",
      "+0.0.0.0/0:443",
      "+::/0:443",
    ]);
    expect(table({ deny: ["*"] }).slice(0, 3)).toEqual(["-*", "-0.0.0.0/0", "-::/0"]);
  });
});

test("a published port is of loopback unless it says otherwise", () => {
  const publish = (protocol: string, address: string, port: number, guestPort: number) => ({
    protocol,
    address,
    port,
    guestPort,
  });
  expect(parsePublish("p", "8080:80")).toEqual(publish("tcp", "127.0.0.1", 8080, 80) as never);
  expect(parsePublish("p", "0:80")).toEqual(publish("tcp", "127.0.0.1", 0, 80) as never);
  expect(parsePublish("p", "0.0.0.0:53:53/udp")).toEqual(publish("udp", "0.0.0.0", 53, 53) as never);
  expect(parsePublish("p", "[::1]:53:5353/tcp")).toEqual(publish("tcp", "::1", 53, 5353) as never);
  const wrong = [
    "80",
    "80:",
    ":80",
    "a:80:80",
    "1.2.3:80:80",
    "::1:80:80",
    "[1.2.3.4]:80:80",
    "80:0",
    "65536:80",
  ];
  for (const text of wrong) expect(() => parsePublish("publish[0]", text)).toThrow("publish[0]: ");
  validatePublish("publish", ["80:80", "80:80/udp", "0:1", "0:1", "127.0.0.2:80:80"]);
  expect(() => validatePublish("publish", ["80:80", "127.0.0.1:80:81"])).toThrow(
    'publish[1]: "80:80" uses the same port',
  );
  expect(() => validatePublish("publish", Array(17).fill("0:80"))).toThrow(
    "17 published ports are more than 16",
  );
});

test("names are found as resolv.conf has it", () => {
  const directory = mkdtempSync(join(tmpdir(), "capsa-resolv-"));
  const path = join(directory, "resolv.conf");
  const says = (text: string) => {
    writeFileSync(path, text);
    return hostNames(path);
  };
  const { servers, fallback } = says(
    "# a\nnameserver 192.0.2.1\n  nameserver\tfe80::1%eth0\n#nameserver 9.9.9.9\nsearch nameserver\n" +
      "nameserver nonsense\nnameserver 2001:db8::1 # mine\nnameserver 192.0.2.4\n",
  );
  expect(servers).toEqual(["192.0.2.1", "fe80::1%eth0", "2001:db8::1"]);
  expect(fallback).toBe(false);
  const nothing = { servers: ["127.0.0.1"], fallback: true, search: [], options: [] };
  expect(says("nameserver fe80::1%an-interface-of-no-kernel\n")).toEqual(nothing);
  expect(says("search a.test\ndomain b.test c.test\n").search).toEqual(["b.test"]);
  expect(says("domain b.test\nsearch a.test nonsense! c.test.\n").search).toEqual(["a.test", "c.test."]);
  expect(says("options ndots:3 rotate\noptions timeout:1 attempts:4 debug edns0 x\n").options).toEqual([
    "ndots:3",
    "timeout:1",
    "attempts:4",
    "edns0",
  ]);
  rmSync(directory, { recursive: true });
  expect(hostNames(path)).toEqual(nothing);
});
