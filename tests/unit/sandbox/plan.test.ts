/** What VMM and guest are told for a specification. */

import { expect, test } from "bun:test";
import { takeLan } from "../../../src/network/lan.ts";
import {
  vmmConfig as configOfVmm,
  layOut,
  guestPlan as planOfGuest,
  type SharePlaces,
  withImage,
} from "../../../src/sandbox/plan.ts";
import { makePlaceholders, secretEnvironment } from "../../../src/secrets/guest.ts";
import { hostsOf } from "../../../src/spec/secret_host.ts";
import type { SandboxSpec } from "../../../src/spec/spec.ts";
import { decodeCbor, encodeCbor } from "../../../src/wire/framing.ts";
import { SPEC, share } from "./spec.ts";

type Root = Parameters<typeof layOut>[1];
type Placement = Parameters<typeof configOfVmm>[2];
const vmmConfig = (spec: SandboxSpec, root: Root, placement: Placement & SharePlaces) =>
  configOfVmm(spec, layOut(spec, root, placement), placement);
const guestPlan = (
  spec: SandboxSpec,
  root: Root,
  ...rest: Parameters<typeof planOfGuest> extends [unknown, unknown, ...infer Rest] ? Rest : never
) => planOfGuest(spec, layOut(spec, root), ...rest);

const PLACEMENT = {
  engine: "qemu",
  kernel: "/k",
  initrd: "/run/x/initrd.cpio",
  program: "/usr/bin/qemu",
  runtimeDir: "/run/x",
  detached: false,
} as const;

test("without shares there is no file system device, and the base is the root", () => {
  const none = { lowers: [], overlays: [] };
  const config = decodeCbor(encodeCbor(vmmConfig(SPEC, none, PLACEMENT)));
  expect(config).toEqual({
    version: 1,
    name: "box",
    engine: "qemu",
    kernel: "/k",
    initrd: "/run/x/initrd.cpio",
    cmdline: "console=hvc0 quiet swiotlb=noforce",
    cpus: 2,
    memory: 256 * 1024 * 1024,
    runtimeDir: "/run/x",
    detached: false,
    vsock: { cid: 3, ports: [52] },
    rng: true,
    balloon: true,
    console: true,
    eventsPort: 53,
    clockPort: 54,
    qemu: { path: "/usr/bin/qemu" },
    confine: "auto",
  });
  expect(decodeCbor(encodeCbor(guestPlan(SPEC, none)))).toEqual({
    version: 1,
    hostname: "box",
    agentPort: 52,
    eventsPort: 53,
    clockPort: 54,
    mounts: [],
    env: { LANG: "C" },
    main: { argv: ["/bin/sh", "-c", "true"], env: {} },
  });
});

test("what an image says of its process holds where the specification says nothing", () => {
  const main = { argv: ["/entry", "x"], env: { LANG: "fr", PATH: "/image" }, cwd: "/srv" } as const;
  const root = { lowers: ["/layers/top", "/layers/bottom"], overlays: [], main };
  const { run, ...bare } = SPEC;
  expect(withImage(bare, root)).toMatchObject({
    env: { LANG: "C", PATH: "/image" },
    run: { argv: ["/entry", "x"], env: {}, cwd: "/srv" },
  });
  expect(withImage(SPEC, root).run).toEqual({ ...run!, cwd: "/srv" });
  expect(withImage(SPEC, { lowers: [], overlays: [] })).toEqual(SPEC);
  expect(guestPlan(SPEC, root)).toMatchObject({ rootfs: { lower: ["0", "1"] } });
  expect(vmmConfig(SPEC, root, PLACEMENT).fs?.[0]?.roots).toMatchObject([
    { name: "0", path: "/layers/top", readOnly: true },
    { name: "1", path: "/layers/bottom", readOnly: true },
  ]);
});

test("the monitor is told which kernel it has to find", () => {
  const identities = new Map([["/k", [1n, 2n] as const]]);
  const { kernelIdentity, initrdIdentity } = vmmConfig(
    SPEC,
    { lowers: [], overlays: [] },
    { ...PLACEMENT, identities },
  );
  expect([kernelIdentity, initrdIdentity]).toEqual([[1n, 2n], undefined]);
});

test("a single vCPU keeps its LOCK prefixes", () => {
  const { cmdline } = vmmConfig({ ...SPEC, cpus: 1 }, { lowers: [], overlays: [] }, PLACEMENT);
  expect(cmdline).toBe("console=hvc0 quiet swiotlb=noforce noreplace-smp");
});

test("a network is a device, addresses for the guest, and a table of rules", () => {
  const network = {
    mode: "user",
    allow: ["a.example:443"],
    deny: [],
    log: [],
    publish: ["0:80"],
    hostLoopback: false,
  } as const;
  const spec = { ...SPEC, network };
  const nameServers = ["192.0.2.53"];
  const config = decodeCbor(
    encodeCbor(vmmConfig(spec, { lowers: [], overlays: [] }, { ...PLACEMENT, nameServers })),
  );
  expect(config.net).toMatchObject({
    mtu: 32768,
    ipv4: { network: "10.0.2.0/24", guest: "10.0.2.15", host: "10.0.2.2", nameServer: "10.0.2.3" },
    hostLoopback: false,
    nameServers: ["192.0.2.53"],
    otherwise: false,
    publish: [{ protocol: "tcp", address: "127.0.0.1", port: 0, guestPort: 80 }],
  });
  const { rules } = config.net as { rules: object[] };
  expect(rules.at(-1)).toEqual({
    allow: true,
    name: "a.example",
    protocol: "tcp",
    firstPort: 443,
    lastPort: 443,
    text: "a.example:443",
  });
  expect(decodeCbor(encodeCbor(guestPlan(spec, { lowers: [], overlays: [] }))).network).toEqual({
    ipv4: { address: "10.0.2.15", prefix: 24, gateway: "10.0.2.2" },
    ipv6: { address: "fd63:6170:7361::15", prefix: 64, gateway: "fd63:6170:7361::2" },
    nameServers: ["10.0.2.3"],
  });
  // short names are looked for where this machine does, but on a private network, where they are its members'
  const names = { servers: ["192.0.2.1"], fallback: false, search: ["corp.example"], options: ["ndots:2"] };
  const named = guestPlan(spec, { lowers: [], overlays: [] }, [], undefined, names);
  expect(decodeCbor(encodeCbor(named)).network).toMatchObject({
    nameServers: ["10.0.2.3"],
    search: ["corp.example"],
    options: ["ndots:2"],
  });
  const lan = takeLan({ name: "back", scope: "a", as: "one" }, [], "/run/lan");
  const joined = decodeCbor(
    encodeCbor(guestPlan(spec, { lowers: [], overlays: [] }, [lan], undefined, names)),
  );
  expect(joined.network).not.toHaveProperty("search");
});

test("secrets are services of the network, whose hosts are allowed, and what the guest is told of them", () => {
  const network = {
    mode: "user",
    allow: ["a.example:443"],
    deny: [],
    log: [],
    publish: [],
    hostLoopback: false,
  } as const;
  const secrets = {
    ONE: { from: "env:ONE", hosts: ["api.example", "other.example:8443"] },
    TWO: { from: "env:TWO", hosts: ["api.example:443", "api.example:444"] },
  };
  const spec = { ...SPEC, network, secrets };
  const hosts = hostsOf(secrets);
  expect(hosts.map(({ name, port }) => `${name}:${port}`)).toEqual([
    "api.example:443",
    "other.example:8443",
    "api.example:444",
  ]);
  const services = hosts.map((host) => ({ ...host, socket: `/run/x/${host.port}` }));
  const config = decodeCbor(
    encodeCbor(vmmConfig(spec, { lowers: [], overlays: [] }, { ...PLACEMENT, services })),
  );
  const net = config.net as { services: object[]; rules: { text?: string }[] };
  expect(net.services).toEqual([
    { name: "api.example", port: 443, socket: "/run/x/443", address: "10.0.2.64" },
    { name: "other.example", port: 8443, socket: "/run/x/8443", address: "10.0.2.65" },
    { name: "api.example", port: 444, socket: "/run/x/444", address: "10.0.2.64" },
  ]);
  expect(net.rules.flatMap(({ text }) => text ?? [])).toEqual([
    "a.example:443",
    "api.example:443",
    "other.example:8443",
    "api.example:444",
  ]);
  const placeholders = makePlaceholders(secrets);
  expect(placeholders.ONE).not.toBe(placeholders.TWO);
  const env = secretEnvironment(placeholders, { LANG: "C", SSL_CERT_FILE: "/own" });
  const plan = decodeCbor(
    encodeCbor(guestPlan(spec, { lowers: [], overlays: [] }, [], { env, trust: "PEM" })),
  );
  expect(plan.trust).toBe("PEM");
  expect(plan.env).toMatchObject({
    ...placeholders,
    LANG: "C",
    SSL_CERT_FILE: "/own",
    NODE_EXTRA_CA_CERTS: "/etc/ssl/certs/capsa.pem",
  });
});

test("memory past 4 GiB is a whole number on the wire", () => {
  const config = vmmConfig({ ...SPEC, memoryMb: 8192 }, { lowers: [], overlays: [] }, PLACEMENT);
  expect(decodeCbor(encodeCbor(config)).memory).toBe(8n << 30n);
});

test("rootfs and shares get names, nested shares come after what they are in", () => {
  const spec = {
    ...SPEC,
    shares: [
      share("/project/data", { mode: "rw", cache: "never" }),
      share("/project", { host: "/opt" }),
      share("/a/b/c", {
        ownership: {
          mode: "map",
          uids: [{ guest: 0, host: 1000, count: 1 }],
          gids: [{ guest: 0, host: 100, count: 2 }],
        },
      }),
    ],
  };
  const rootfs = { lowers: ["/run/x/rootfs"], overlays: [{ host: "/usr", target: "/usr" }] };
  const config = decodeCbor(encodeCbor(vmmConfig(spec, rootfs, PLACEMENT)));
  const system = { readOnly: true, cache: "always", ownership: "root" };
  expect(config.fs).toEqual([
    {
      tag: "capsa",
      roots: [
        { name: "0", path: "/run/x/rootfs", ...system },
        { name: "1", path: "/usr", ...system },
        { name: "share1", path: "/opt", readOnly: true, cache: "auto", ownership: "root" },
        { name: "share0", path: "/usr", readOnly: false, hostLocks: true, cache: "never", ownership: "root" },
        {
          name: "share2",
          path: "/usr",
          readOnly: true,
          cache: "auto",
          ownership: "map",
          uidMap: [[0, 1000, 1]],
          gidMap: [[0, 100, 2]],
        },
      ],
    },
  ]);
  const plan = decodeCbor(encodeCbor(guestPlan(spec, rootfs)));
  expect(plan).toMatchObject({ fsTag: "capsa", rootfs: { lower: ["0"] } });
  expect(plan.mounts).toEqual([
    { name: "1", target: "/usr", readOnly: true, overlay: true },
    { name: "share1", target: "/project", readOnly: true },
    { name: "share0", target: "/project/data", readOnly: false },
    { name: "share2", target: "/a/b/c", readOnly: true },
  ]);
});

test("of a read-write share parts are protected, or all of it", () => {
  const shares = [share("/b", { mode: "rw" }), share("/a", { mode: "rw" }), share("/c")];
  const nothing = { whole: false, paths: [] };
  const protections = [{ whole: false, paths: ["a", "b/c"] }, { whole: true, paths: [] }, nothing];
  const placement = { ...PLACEMENT, protections };
  const config = decodeCbor(
    encodeCbor(vmmConfig({ ...SPEC, shares }, { lowers: [], overlays: [] }, placement)),
  );
  const [{ roots }] = config.fs as [{ roots: object[] }];
  const root = (name: string, more: object) => ({
    name,
    path: "/usr",
    cache: "auto",
    ownership: "root",
    ...more,
  });
  expect(roots).toEqual([
    root("share0", { readOnly: false, hostLocks: true, protect: ["a", "b/c"] }),
    root("share1", { readOnly: true }),
    root("share2", { readOnly: true }),
  ]);
});

test("locks are the host's in read-write shares, unless it says otherwise", () => {
  const given = [["rw"], ["rw", "guest"], ["ro"], ["ro", "host"]] as const;
  const shares = given.map(([mode, locks], index) =>
    share(`/${index}`, { mode, ...(locks ? { locks } : {}) }),
  );
  const config = decodeCbor(
    encodeCbor(vmmConfig({ ...SPEC, shares }, { lowers: [], overlays: [] }, PLACEMENT)),
  );
  const [{ roots }] = config.fs as [{ roots: { hostLocks?: boolean }[] }];
  expect(roots.map(({ hostLocks }) => hostLocks)).toEqual([true, undefined, undefined, true]);
});

test("a transaction is a share with a place beside it for what is changed", () => {
  const shares = [share("/b"), share("/a", { host: "/opt", mode: "transaction", cache: "never" })];
  const placement = { ...PLACEMENT, staging: "/state/1" };
  const config = decodeCbor(
    encodeCbor(vmmConfig({ ...SPEC, shares }, { lowers: [], overlays: [] }, placement)),
  );
  const [{ roots }] = config.fs as [{ roots: object[] }];
  expect(roots.slice(1)).toEqual([
    { name: "1", path: "/opt", readOnly: false, layer: "/state/1/1", cache: "never", ownership: "root" },
  ]);
  const plan = decodeCbor(encodeCbor(guestPlan({ ...SPEC, shares }, { lowers: [], overlays: [] })));
  expect(plan.mounts).toEqual([
    { name: "share0", target: "/b", readOnly: true },
    { name: "1", target: "/a", readOnly: false },
  ]);
});

test("a limited life is the guest's to keep, and the VMM's some seconds later", () => {
  const spec = { ...SPEC, ttlMs: 60_000, idleTimeoutMs: 5000 };
  expect(vmmConfig(spec, { lowers: [], overlays: [] }, PLACEMENT).ttl).toBe(67_000);
  const none = { lowers: [], overlays: [] };
  const lasting = { ttlMs: 60_000, idleMs: 5000 };
  expect(guestPlan(spec, none)).toMatchObject({ ...lasting, waits: undefined });
  expect(guestPlan(spec, none, [], undefined, undefined, true)).toMatchObject({ ...lasting, waits: true });
  expect(vmmConfig(spec, none, { ...PLACEMENT, waits: true }).waits).toBe(true);
});
