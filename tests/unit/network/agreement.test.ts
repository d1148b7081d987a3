/**
 * What `explain` says is what the gate does, and of addresses both are what docs/network.md has: random rules, random
 * places. The gate is the VMM's, fed with packets by gate_says.c; the rules of both are made by src/network/rules.ts.
 */

import { beforeAll, expect, test } from "bun:test";
import { isIP } from "node:net";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { explainNetwork } from "../../../src/index.ts";
import { placeFields } from "../../../src/network/control.ts";
import { netDevice } from "../../../src/network/device.ts";
import type { NetworkPlace } from "../../../src/network/spec.ts";
import { secretNetwork } from "../../../src/secrets/guest.ts";
import { parseTarget, type Target } from "../../../src/spec/rules.ts";
import type { UserNetwork } from "../../../src/spec/spec.ts";
import { encodeFrame } from "../../../src/wire/framing.ts";

const root = join(import.meta.dir, "../../..");
const CASES = 10_000;
const PLACES = 40; // asked about for each set of rules

/** CAPSA_TEST_SEED is what a failure has printed. */
const seed = Number(process.env.CAPSA_TEST_SEED ?? Math.floor(Math.random() * 2 ** 32));
let state = seed;
/** From 0 on, below `end`; mulberry32. */
function random(end: number): number {
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * end);
}
const one = <T>(of: readonly T[]): T => of[random(of.length)]!;
const some = <T>(most: number, make: () => T): T[] => Array.from({ length: random(most + 1) }, make);

const own = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .filter(({ address, internal }) => !internal && !address.startsWith("fe80"))
  .map(({ address }) => address);
const GUARDED: readonly (readonly [network: string, one: string])[] = [
  ["169.254.0.0/16", "169.254.169.254"],
  ["fe80::/10", "fe80::1"],
  ["100.100.100.200/32", "100.100.100.200"],
  ["168.63.129.16/32", "168.63.129.16"],
  ["192.0.0.192/32", "192.0.0.192"],
  ["fd00:ec2::/32", "fd00:ec2::254"],
  ["fd00:42::42/128", "fd00:42::42"],
  ["fd20:ce::254/128", "fd20:ce::254"],
];
const addresses4 = [
  ...["10.0.0.1", "10.1.2.3", "192.168.7.7", "203.0.113.5", "203.0.113.77", "198.51.100.9", "8.8.8.8"],
  ...GUARDED.map(([, address]) => address).filter((address) => isIP(address) === 4),
  ...own.filter((address) => isIP(address) === 4),
];
const words = (address: string) => address.split(".").map(Number) as [number, number, number, number];
const hex = (high: number, low: number) => ((high << 8) | low).toString(16);
/** How an IPv4 address is carried in one of IPv6. */
const CARRIED: readonly ((a: number, b: number, c: number, d: number) => string)[] = [
  (a, b, c, d) => `64:ff9b::${hex(a, b)}:${hex(c, d)}`,
  (a, b, c, d) => `64:ff9b:1:7::${hex(a, b)}:${hex(c, d)}`,
  (a, b, c, d) => `::ffff:0:${hex(a, b)}:${hex(c, d)}`,
  (a, b, c, d) => `2002:${hex(a, b)}:${hex(c, d)}::9`,
  (a, b, c, d) => `2001:0:cb00:7105::${hex(a ^ 255, b ^ 255)}:${hex(c ^ 255, d ^ 255)}`,
  (a, b, c, d) => `2001:db8::5efe:${hex(a, b)}:${hex(c, d)}`,
];
const carried = () => {
  const inner = one(addresses4);
  const form = one(CARRIED);
  const address = form(...words(inner));
  return { address, inner: form === CARRIED[4] ? ["203.0.113.5", inner] : [inner] };
};
const addresses6 = [
  ...["2001:db8::1", "2001:db8:1::7", "2600::5", "fd12::1"],
  ...GUARDED.map(([, address]) => address).filter((address) => isIP(address) === 6),
  ...own.filter((address) => isIP(address) === 6),
];
/** What the gate answers itself, or never lets out. */
const near = ["10.0.2.2", "10.0.2.9", "10.0.2.64", "fd63:6170:7361::2", "fe80::2", "fd63:6170:7361::9"];
const local = [
  "127.0.0.1",
  "0.0.0.0",
  "224.0.0.1",
  "255.255.255.255",
  "::1",
  "::",
  "ff02::1",
  "64:ff9b::7f00:1",
];
const names = ["a.test", "b.a.test", "c.example", "d.c.example", "service.test"];

/** Places that are outside of all networks of rules but for the whole Internet. */
const LED = { led4: "9.9.9.9", led6: "2a00::9" };

function rule(): string {
  const [address, bits] = one([
    () => [one(addresses4), one(["", "/32", "/31", "/24", "/16", "/12"])],
    () => [one(own.length > 0 ? own : addresses4), ""],
    () => ["0.0.0.0", "/0"],
    () => ["::", "/0"],
    () => [one(addresses6), one(["", "/128", "/64", "/32", "/10"])],
    () => [carried().address, one(["", "/96", "/48", "/16"])],
    () => [one([...names, "*.test", "*.a.test", "*.example", "*"]), ""],
  ])() as [string, string];
  const tail = one(["", "", ":443", ":443", ":53/udp", ":80-500", "/udp", "/tcp", "/icmp"]);
  return `${address.includes(":") ? `[${address}]` : address}${bits}${tail}`;
}

function network(): UserNetwork {
  const lists = { deny: some(3, rule), log: some(2, rule) };
  const base = { mode: "user", publish: [], hostLoopback: random(4) === 0, ...lists } as const;
  return random(3) === 0 ? base : { ...base, allow: some(8, rule) };
}

interface Asked extends NetworkPlace {
  /** Of an address that is for the rules alone: those in it. */
  readonly inner?: readonly string[];
}

function place(): Asked {
  const protocol = one(["tcp", "tcp", "udp", "icmp"] as const);
  const port = protocol === "icmp" ? {} : { port: one([443, 53, 80, 22]) };
  const host = one([
    () => ({ host: one(addresses4), inner: [] }),
    () => ({ host: one(addresses6), inner: [] }),
    () => ({ host: one(own.length > 0 ? own : addresses4), inner: [] }),
    () => {
      const { address, inner } = carried();
      return { host: address, inner };
    },
    () => ({ host: one(near) }),
    () => ({ host: one(local) }),
    () => ({ host: one(names) }),
  ])();
  return { ...host, protocol, ...port };
}

/* What docs/network.md has */

function number(address: string): bigint {
  if (isIP(address) === 4) return words(address).reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  const [head, tail] = address.split("::").map((part) => (part === "" ? [] : part.split(":")));
  const groups =
    tail === undefined ? head! : [...head!, ...Array(8 - head!.length - tail.length).fill("0"), ...tail];
  return groups.reduce((sum, group) => sum * 65536n + BigInt(`0x${group}`), 0n);
}

function holds(network: string, address: string): boolean {
  const [base, bits] = network.split("/") as [string, string];
  const rest = BigInt((isIP(address) === 4 ? 32 : 128) - Number(bits));
  return isIP(base) === isIP(address) && number(base) >> rest === number(address) >> rest;
}

const inside = (inner: string, outer: string) =>
  holds(outer, inner.split("/")[0]!) && Number(inner.split("/")[1]) >= Number(outer.split("/")[1]);

function lets({ allow, deny, log, hostLoopback }: UserNetwork, asked: Asked, address: string): boolean {
  const isFor = ({ protocol, firstPort = 0, lastPort = 65535 }: Target) =>
    (protocol ?? asked.protocol) === asked.protocol &&
    firstPort <= (asked.port ?? 0) &&
    (asked.port ?? 0) <= lastPort;
  const matching = (rules: readonly string[]) =>
    rules
      .map((text) => parseTarget("rule", text))
      .filter(isFor)
      .filter(({ name, network }) => name === "*" || (network !== undefined && holds(network, address)));
  const allowed = matching([...log, ...(allow ?? [])]);
  if (matching(deny).length > 0) return false;
  if (own.includes(address) && !hostLoopback)
    return allowed.some(({ network }) => network?.endsWith(isIP(address) === 4 ? "/32" : "/128"));
  const guards = GUARDED.map(([guard]) => guard);
  if (allowed.some(({ network }) => network !== undefined && guards.some((guard) => inside(network, guard))))
    return true;
  return !guards.some((guard) => holds(guard, address)) && (allow === undefined || allowed.length > 0);
}

/** Undefined where the rules are not alone in saying so. */
function documented(rules: UserNetwork, asked: Asked): boolean | undefined {
  if (asked.inner === undefined || asked.host.startsWith("fe80")) return undefined;
  if (asked.protocol === "icmp" && isIP(asked.host) === 6) return false;
  return [asked.host, ...asked.inner].every((address) => lets(rules, asked, address));
}

const secrets = { TOKEN: { from: "env:TOKEN", hosts: ["service.test:443"] } };
const services = [{ name: "service.test", port: 443, socket: "/run/it" }];

beforeAll(() => {
  const { exitCode, stderr } = Bun.spawnSync(["make", "-s", "-j2", "-C", "ffi", "gate-says"], { cwd: root });
  if (exitCode !== 0) throw new Error(`gate_says was not built:\n${stderr}`);
}, 600_000);

test("explain, the gate and the documentation agree", async () => {
  const cases = Array.from({ length: CASES / PLACES }, network).flatMap((rules) =>
    Array.from({ length: PLACES }, () => ({ rules, asked: place() })),
  );
  const gate = Bun.spawn([join(root, "build/gate_says")], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "inherit",
  });
  const said = new Response(gate.stdout).text();
  for (const { rules, asked } of cases) {
    const question = {
      net: netDevice(secretNetwork(rules, secrets), [], services),
      ...placeFields(asked),
      ...LED,
    };
    gate.stdin.write(encodeFrame(question));
  }
  await gate.stdin.end();
  const lines = (await said).trim().split("\n");
  expect(await gate.exited).toBe(0);
  expect(lines).toHaveLength(cases.length);
  const wrong = cases.flatMap(({ rules, asked }, index) => {
    const told = explainNetwork(rules, asked, secrets);
    const expected = documented(rules, asked);
    const [verdict, ...why] = lines[index]!.split(" ");
    const same =
      told.allowed === (verdict === "passes") &&
      (verdict !== "refused" || told.why === why.join(" ")) &&
      (verdict === "unasked") === told.question &&
      (expected === undefined || expected === told.allowed);
    return same ? [] : [{ rules, asked, gate: lines[index], told, documented: expected }];
  });
  if (wrong.length > 0)
    throw new Error(
      `CAPSA_TEST_SEED=${seed}: ${wrong.length} of ${CASES} disagree, the first: ${JSON.stringify(wrong[0], null, 2)}`,
    );
}, 120_000);
