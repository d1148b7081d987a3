/**
 * What the tests of sandboxes' networks have in common: machines with one, and peers, which are hosts of the test's own in
 * a network namespace of its own.
 */
import { afterAll, beforeAll, expect } from "bun:test";
import { join } from "node:path";
import {
  type Agent,
  Capsa,
  type NetworkAccess,
  NetworkMode,
  type NetworkRefusal,
  type RunningSandbox,
  sandbox,
  type UserNatOptions,
} from "../../src/index.ts";

/** Of what this process makes on the host. */
export const tag = process.pid.toString(36);
const space = `capsa-${tag}`;
export const near = `cn${tag}`;
/** Documentation addresses (RFC 5737, RFC 3849): nobody else's. */
export const peer = "198.51.100.2";
export const other = "198.51.100.3";
export const peer6 = "2001:db8:cafe::2";
/** The end of the peers' cable that is this host's. */
export const own = "198.51.100.1";
const servers = [peer];

function ip(...args: string[]): boolean {
  return Bun.spawnSync(["ip", ...args], { stdout: "ignore", stderr: "ignore" }).exitCode === 0;
}

/** Do something to this host's network, until the scope ends: "addr ADDRESS dev lo", "route local 192.0.2.0/28 dev lo". */
export function changeHost(...lines: string[]): Disposable {
  const change = (verb: string, lines: string[]) =>
    lines.map((line) => {
      const [kind, ...rest] = line.split(" ");
      return ip(...(line.includes(":") ? ["-6"] : []), kind!, verb, ...rest);
    });
  expect(change("add", lines)).not.toContain(false);
  return { [Symbol.dispose]: () => void change("del", lines) };
}

/** A host at the end of a cable; false where this user may not make one. */
function makePeer(): boolean {
  if (!ip("netns", "add", space)) return false;
  const far = `cf${tag}`;
  const steps = [
    ["link", "add", near, "type", "veth", "peer", "name", far, "netns", space],
    ["addr", "add", "198.51.100.1/24", "dev", near],
    ["addr", "add", "2001:db8:cafe::1/64", "dev", near, "nodad"],
    ["link", "set", near, "up"],
    ...[`${peer}/24`, `${other}/24`].map((address) => ["-n", space, "addr", "add", address, "dev", far]),
    ["-n", space, "addr", "add", `${peer6}/64`, "dev", far, "nodad"],
    ["-n", space, "link", "set", far, "up"],
    ["-n", space, "link", "set", "lo", "up"],
  ];
  return steps.every((step) => ip(...step));
}

/** Wait until it is so; what comes next says what is wrong when it never was. */
export async function until(is: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await is()) && performance.now() < deadline) await Bun.sleep(10);
}

/** Whether all of that is so; of `why` a part will do. */
function isLike(one: NetworkRefusal, { why = "", ...wanted }: Partial<NetworkRefusal>): boolean {
  return one.why.includes(why) && Bun.deepEquals({ ...one, ...wanted }, one);
}

/** The near ends of what the peer is connected by. */
export async function peerConnections(): Promise<string[]> {
  const shown = Bun.spawn([
    "ip",
    "netns",
    "exec",
    space,
    "ss",
    "-tnH",
    "state",
    "established",
    "sport",
    "7000",
  ]);
  const lines = (await new Response(shown.stdout).text()).trim().split("\n");
  return lines.map((line) => line.trim().split(/\s+/)[2] ?? "");
}

/** Peers for the tests of this file, if this user may make them. */
export function usePeers(): boolean {
  if (process.getuid?.() !== 0 || !makePeer()) return false;
  let peers: Bun.Subprocess<"pipe", "pipe", "inherit"> | undefined;
  beforeAll(async () => {
    const script = join(import.meta.dir, "network_peer.py");
    peers = Bun.spawn(["ip", "netns", "exec", space, "python3", script, peer, other, peer6], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    const { value } = await peers.stdout.getReader().read();
    expect(new TextDecoder().decode(value)).toStartWith("ready");
  });
  afterAll(async () => {
    await peers?.stdin.end();
    await peers?.exited;
    ip("link", "del", near); // at once, which the end of its other end's namespace is not
    ip("netns", "del", space);
  });
  return true;
}

/** Short programs of a guest, for what they print. */
export interface Programs {
  /** Run it in the guest's shell; its standard output, or what went wrong. */
  run(script: string): Promise<string>;
  /** Run Python in the guest: what it printed, or the last line of its complaint. */
  python(script: string): Promise<string>;
}

export function programs(agent: Agent): Programs {
  return {
    async run(script) {
      const { stdout, stderr, exitCode } = await agent.exec(script, { timeoutMs: 60_000 });
      return exitCode === 0 ? stdout.trim() : `exit code ${exitCode}: ${stdout}${stderr}`;
    },
    async python(script) {
      const { stdout, stderr } = await agent.exec(["python3", "-c", `from socket import *\n${script}`]);
      return stdout.trim() || stderr.trim().split("\n").at(-1)!;
    },
  };
}

export interface Machine extends AsyncDisposable, Programs {
  readonly vm: RunningSandbox;
  readonly agent: Agent;
  readonly refusals: NetworkRefusal[];
  readonly accesses: NetworkAccess[];
  /** Wait until a refusal like this was told: it comes another way than what the guest says. */
  told(refusal: Partial<NetworkRefusal>): Promise<void>;
}

/** `names: "host"`: the host's name servers and not the test's. */
export async function machine(
  network: UserNatOptions,
  rootfs: "base" | "host" = "base",
  names: "test" | "host" = "test",
  confine: "auto" | "require" = "auto",
): Promise<Machine> {
  const refusals: NetworkRefusal[] = [];
  const accesses: NetworkAccess[] = [];
  const vm = await Capsa.sandbox()
    .memoryMb(rootfs === "host" ? 1024 : 256)
    .rootfs(rootfs)
    .confine(confine)
    .network(NetworkMode.UserNat({ ...network, ...(names === "test" ? { nameServers: servers } : {}) }))
    .run("/bin/sleep", ["infinity"])
    .build({
      onRefusal: (refusal) => refusals.push(refusal),
      onAccess: (access) => accesses.push(access),
    });
  const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  const told = async (refusal: Partial<NetworkRefusal>) => {
    const isTold = () => refusals.some((one) => isLike(one, refusal));
    await until(isTold);
    if (!isTold())
      throw new Error(`${JSON.stringify(refusal)} is not among ${JSON.stringify(refusals, null, 2)}`);
  };
  return {
    vm,
    agent,
    refusals,
    accesses,
    told,
    ...programs(agent),
    [Symbol.asyncDispose]: () => vm[Symbol.asyncDispose](),
  };
}
