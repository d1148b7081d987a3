/** From a specification to what the VMM and the guest are told: a pure function, after everything has been checked. */

import { join } from "node:path";
import type { EngineName } from "../engine/engines.ts";
import type { Identity } from "../host/identity.ts";
import type { RootImage } from "../image/root.ts";
import { IPV4, IPV6, type Side } from "../network/addresses.ts";
import { netDevice, type Service } from "../network/device.ts";
import type { HostNames } from "../network/host.ts";
import { guestLan, type Lan, lanDevice } from "../network/lan.ts";
import { secretNetwork } from "../secrets/guest.ts";
import type { Ownership, SandboxSpec, ShareSpec } from "../spec/spec.ts";
import { MIB } from "../spec/units.ts";
import type { Protection } from "./protect.ts";

/** Guest vsock port of the agent. */
export const AGENT_PORT = 52;
/** Host vsock port of the guest's event stream. */
export const EVENTS_PORT = 53;
/** Host vsock port of the time. */
const CLOCK_PORT = 54;

const FS_TAG = "capsa";
const GUEST_CID = 3; // each VMM has a vsock of its own: the number need not be unique
/** For a guest to end by itself when its time is over, as `vm.stop()` gives it; then the power is cut. */
const TTL_GRACE_MS = 7000;
/**
 * No bounce buffers: with 4 GiB and more the kernel sets 64 MiB aside for them, and virtio-mmio reaches all memory. With
 * one vCPU its LOCK prefixes stay: to take each of them away costs a page-table switch at boot.
 */
function commandLine(cpus: number): string {
  return `console=hvc0 quiet swiotlb=noforce${cpus === 1 ? " noreplace-smp" : ""}`;
}

/** What the machine is started with besides the specification. */
interface Placement {
  readonly engine: EngineName;
  readonly kernel: string;
  /** Base initramfs with the guest's plan behind it. */
  readonly initrd: string;
  /** The engine's own, where it has one. */
  readonly program?: string;
  readonly runtimeDir: string;
  readonly detached: boolean;
  /** Its time begins later. */
  readonly waits?: true;
  readonly archive?: string;
  /** What paths lead to, and the monitor has to find. */
  readonly identities?: ReadonlyMap<string, Identity>;
  /** This machine's, where the sandbox has a network. */
  readonly nameServers?: readonly string[];
  /** Its places on private networks. */
  readonly lans?: readonly Lan[];
  /** Hosts of its secrets. */
  readonly services?: readonly Service[];
}

/** What the guest is told besides the specification, where that has secrets. */
export interface GuestAddition {
  /** The whole environment of the sandbox. */
  readonly env: Readonly<Record<string, string>>;
  /** The certificate of an authority that it is to believe, PEM. */
  readonly trust: string;
}

interface FsRoot extends Pick<ShareSpec, "cache" | "protect" | "size"> {
  readonly name: string;
  readonly path: string;
  readonly readOnly: boolean;
  readonly hostLocks?: true;
  /** Of a transaction, where what is changed goes; of a read-only share, which has places for others that it lacks. */
  readonly layer?: string;
  readonly ownership: Ownership["mode"];
  readonly uidMap?: readonly (readonly [guest: number, host: number, count: number])[];
  readonly gidMap?: readonly (readonly [guest: number, host: number, count: number])[];
}

interface Mount {
  readonly name: string;
  readonly target: string;
  readonly readOnly: boolean;
  readonly overlay?: true;
}

/** Host directories by the name the guest finds them under, and where it mounts them, outer ones first. */
interface Layout {
  readonly roots: readonly FsRoot[];
  readonly lower: readonly string[];
  readonly mounts: readonly Mount[];
}

/** `vmm-config` of ffi/vmm.cddl. */
export function vmmConfig(spec: SandboxSpec, layout: Layout, placement: Placement) {
  const roots = layout.roots.map((root) => ({
    ...root,
    identity: placement.identities?.get(root.path),
  }));
  const network = spec.network === "none" ? undefined : secretNetwork(spec.network, spec.secrets ?? {});
  return {
    version: 1,
    name: spec.name,
    engine: placement.engine,
    kernel: placement.kernel,
    kernelIdentity: placement.identities?.get(placement.kernel),
    initrd: placement.initrd,
    initrdIdentity: placement.identities?.get(placement.initrd),
    cmdline: commandLine(spec.cpus),
    cpus: spec.cpus,
    memory: spec.memoryMb * MIB,
    runtimeDir: placement.runtimeDir,
    detached: placement.detached,
    fs: roots.length > 0 ? [{ tag: FS_TAG, roots }] : undefined,
    vsock: { cid: GUEST_CID, ports: [AGENT_PORT] },
    net: network && netDevice(network, placement.nameServers, placement.services),
    lans: placement.lans?.map(lanDevice),
    rng: true,
    balloon: true,
    console: true,
    eventsPort: EVENTS_PORT,
    clockPort: CLOCK_PORT,
    archive: placement.archive,
    ttl: spec.ttlMs === undefined ? undefined : spec.ttlMs + TTL_GRACE_MS,
    waits: placement.waits,
    qemu: placement.program === undefined ? undefined : { path: placement.program },
    confine: spec.confine,
  };
}

/** `plan` of guest/protocol.cddl. */
export function guestPlan(
  spec: SandboxSpec,
  { roots, lower, mounts }: Layout,
  lans: readonly Lan[] = [],
  addition?: GuestAddition,
  names?: HostNames,
  waits?: boolean,
): object {
  return {
    version: 1,
    hostname: spec.name,
    agentPort: AGENT_PORT,
    eventsPort: EVENTS_PORT,
    clockPort: CLOCK_PORT,
    fsTag: roots.length > 0 ? FS_TAG : undefined,
    rootfs: lower.length > 0 ? { lower } : undefined,
    mounts,
    ttlMs: spec.ttlMs,
    idleMs: spec.idleTimeoutMs,
    waits,
    network: spec.network === "none" ? undefined : guestNetwork(lans.length === 0 ? names : undefined),
    lans:
      lans.length === 0
        ? undefined
        : lans.map((lan, index) => guestLan(lan, spec.network === "none" && index === 0)),
    trust: addition?.trust,
    env: addition?.env ?? spec.env,
    main: spec.run,
  };
}

/** `network` of guest/protocol.cddl. On private networks a short name is a member's, and looked for in no domain. */
function guestNetwork({ search = [], options = [] }: Partial<HostNames> = {}): object {
  const side = ({ guest, bits, host }: Side) => ({ address: guest, prefix: bits, gateway: host });
  return {
    ipv4: side(IPV4),
    ipv6: side(IPV6),
    nameServers: [IPV4.nameServer],
    search: search.length > 0 ? search : undefined,
    options: options.length > 0 ? options : undefined,
  };
}

/** The specification, with what the image says where it says nothing itself. */
export function withImage(spec: SandboxSpec, { main = {} }: RootImage): SandboxSpec {
  const { argv, env = {}, cwd } = main;
  const run = spec.run ?? (argv && { argv, env: {} });
  const at = run?.cwd ?? cwd;
  return {
    ...spec,
    env: { ...env, ...spec.env },
    ...(run === undefined ? {} : { run: { ...run, ...(at === undefined ? {} : { cwd: at }) } }),
  };
}

/** Name of the root that a share is, by its index in the specification; one in mode `transaction` has another. */
export function shareRoot(index: number): string {
  return `share${index}`;
}

/** Of shares, by their order in the specification, what is not in it. */
export interface SharePlaces {
  /** Where shares have changes staged. */
  readonly staging?: string;
  /** What in read-write shares stays as it is. */
  readonly protections?: readonly Protection[];
  /** Directories of what read-only shares show above their own, if that is anything. */
  readonly places?: readonly (string | undefined)[];
}

/** Of the shares and the root. The guest finds what is there by name, and is not told what it is. */
export function layOut(
  spec: SandboxSpec,
  root: RootImage,
  { staging = "", protections = [], places = [] }: SharePlaces = {},
): Layout {
  const roots: FsRoot[] = [];
  const mounts: Mount[] = [];
  const add = (root: Omit<FsRoot, "name">, name = String(roots.length)): string => {
    roots.push({ name, ...root });
    return name;
  };
  // The host may change its own files; a sandbox that runs should see them as they were found
  const system = (path: string) => add({ path, readOnly: true, cache: "always", ownership: "root" });
  const lower = root.lowers.map(system);
  for (const { host, target } of root.overlays) {
    mounts.push({ name: system(host), target, readOnly: true, overlay: true });
  }
  const ordered = spec.shares
    .map((share, index) => ({ ...share, index }))
    .sort((one, other) => depth(one.guest) - depth(other.guest)); // stable: otherwise in the order given
  for (const share of ordered) {
    const readOnly = share.mode === "ro";
    const owned = owner(share.ownership);
    const size = share.size === undefined ? {} : { size: share.size };
    const shared = { path: share.host, cache: share.cache, ...size, ...owned };
    if (share.mode === "transaction") {
      const name = add({ ...shared, readOnly: false, layer: join(staging, String(share.index)) });
      mounts.push({ name, target: share.guest, readOnly });
    } else {
      const { whole = false, paths = [] } = protections[share.index] ?? {};
      const protect = paths.length === 0 ? {} : { protect: paths };
      const locks = hostLocks(share.locks, readOnly || whole);
      const layer = places[share.index];
      const name = add(
        {
          ...shared,
          ...protect,
          ...locks,
          ...(layer === undefined ? {} : { layer }),
          readOnly: readOnly || whole,
        },
        shareRoot(share.index),
      );
      mounts.push({ name, target: share.guest, readOnly });
    }
  }
  return { roots, lower, mounts };
}

/** Who may only read could keep programs of the host waiting all the same: not unless it is asked for. */
function hostLocks(given: ShareSpec["locks"], readOnly: boolean): Pick<FsRoot, "hostLocks"> {
  return (given ?? (readOnly ? "guest" : "host")) === "host" ? { hostLocks: true } : {};
}

function owner(ownership: Ownership): Pick<FsRoot, "ownership" | "uidMap" | "gidMap"> {
  if (ownership.mode !== "map") return { ownership: ownership.mode };
  const triples = (ranges: typeof ownership.uids) =>
    ranges.map(({ guest, host, count }) => [guest, host, count] as const);
  return { ownership: "map", uidMap: triples(ownership.uids), gidMap: triples(ownership.gids) };
}

function depth(path: string): number {
  return path.split("/").length;
}
