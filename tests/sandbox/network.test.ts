/**
 * The network of sandboxes, seen from their insides: what it carries, what it lets in, what it refuses. The peers are
 * hosts of the test's own, in a network namespace of its own.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { join } from "node:path";
import {
  type Agent,
  Capsa,
  type NetworkAccess,
  NetworkMode,
  type NetworkRefusal,
  type RunningSandbox,
  readNetworkLog,
  sandbox,
  type UserNatOptions,
} from "../../src/index.ts";
import { capsa, scratch } from "../unit/cli/capsa.ts";

const tag = process.pid.toString(36);
const space = `capsa-${tag}`;
/** Documentation addresses (RFC 5737, RFC 3849): nobody else's. */
const peer = "198.51.100.2";
const other = "198.51.100.3";
const peer6 = "2001:db8:cafe::2";
const servers = [peer];

/** What the peer's port 7001 sends, and what port 7002 is sent. */
const block = Buffer.from(Uint8Array.from({ length: 65536 }, (_, i) => (i * 7 + (i >> 8)) & 255));
const digest = createHash("sha256");
for (let i = 0; i < 1024; i++) digest.update(block);
const sha256 = digest.digest("hex");

function ip(...args: string[]): boolean {
  return Bun.spawnSync(["ip", ...args], { stdout: "ignore", stderr: "ignore" }).exitCode === 0;
}

/** A host at the end of a cable; false where this user may not make one. */
function makePeer(): boolean {
  if (!ip("netns", "add", space)) return false;
  const [near, far] = [`cn${tag}`, `cf${tag}`];
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
async function until(is: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await is()) && performance.now() < deadline) await Bun.sleep(10);
}

/** The near ends of what the peer is connected by. */
async function peerConnections(): Promise<string[]> {
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

const possible = process.getuid?.() === 0 && makePeer();
let peerProcess: Bun.Subprocess<"pipe", "pipe", "inherit"> | undefined;

interface Machine extends AsyncDisposable {
  readonly vm: RunningSandbox;
  readonly agent: Agent;
  readonly refusals: NetworkRefusal[];
  readonly accesses: NetworkAccess[];
  /** Wait until a refusal like this was told: it comes another way than what the guest says. */
  told(refusal: Partial<NetworkRefusal>): Promise<void>;
  /** Run it in the guest's shell; its standard output, or what went wrong. */
  run(script: string): Promise<string>;
  /** Run Python in the guest: what it printed, or the last line of its complaint. */
  python(script: string): Promise<string>;
}

/** `names: "host"`: the host's name servers and not the test's. */
async function machine(
  network: UserNatOptions,
  rootfs: "base" | "host" = "base",
  names: "test" | "host" = "test",
): Promise<Machine> {
  const refusals: NetworkRefusal[] = [];
  const accesses: NetworkAccess[] = [];
  const vm = await Capsa.sandbox()
    .memoryMb(rootfs === "host" ? 1024 : 256)
    .rootfs(rootfs)
    .network(NetworkMode.UserNat({ ...network, ...(names === "test" ? { nameServers: servers } : {}) }))
    .run("/bin/sleep", ["infinity"])
    .build({
      onRefusal: (refusal) => refusals.push(refusal),
      onAccess: (access) => accesses.push(access),
    });
  const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  const run = async (script: string) => {
    const { stdout, stderr, exitCode } = await agent.exec(script, { timeoutMs: 60_000 });
    return exitCode === 0 ? stdout.trim() : `exit code ${exitCode}: ${stdout}${stderr}`;
  };
  const python = async (script: string) => {
    const { stdout, stderr } = await agent.exec(["python3", "-c", `from socket import *\n${script}`]);
    return stdout.trim() || stderr.trim().split("\n").at(-1)!;
  };
  const told = async (refusal: Partial<NetworkRefusal>) => {
    await until(() => refusals.some((one) => Bun.deepEquals({ ...one, ...refusal }, one)));
    expect(refusals).toContainEqual(expect.objectContaining(refusal));
  };
  return {
    vm,
    agent,
    refusals,
    accesses,
    told,
    run,
    python,
    [Symbol.asyncDispose]: () => vm[Symbol.asyncDispose](),
  };
}

beforeAll(async () => {
  if (!possible) return;
  peerProcess = Bun.spawn(
    ["ip", "netns", "exec", space, "python3", join(import.meta.dir, "network_peer.py"), peer, other, peer6],
    { stdin: "pipe", stdout: "pipe", stderr: "inherit" },
  );
  const { value } = await peerProcess.stdout.getReader().read();
  expect(new TextDecoder().decode(value)).toStartWith("ready");
});

afterAll(async () => {
  await peerProcess?.stdin.end();
  await peerProcess?.exited;
  ip("netns", "del", space); // and with it goes the cable
});

test("without a network there is no device for one", async () => {
  await using vm = await Capsa.sandbox().memoryMb(256).run("/bin/sleep", ["infinity"]).build();
  const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  expect((await agent.exec("ls /sys/class/net")).stdout).toBe("lo\n");
  await expect(vm.network.state()).rejects.toMatchObject({ code: "ENODEV" });
  expect(vm.ports).toEqual([]);
});

test("a port that is taken is one clear error, and nothing stays behind", async () => {
  const taken = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  try {
    const start = Capsa.sandbox()
      .name(`taken-${tag}`)
      .network(NetworkMode.UserNat({ publish: [`${taken.port}:80`] }))
      .run("/bin/true")
      .build();
    await expect(start).rejects.toMatchObject({
      name: "BootError",
      code: "PORT_IN_USE",
      message: `port ${taken.port}/tcp of 127.0.0.1 cannot be published: it is taken; choose another, or 0 for one that is free`,
    });
  } finally {
    taken.stop(true);
  }
});

test("the host's loopback is reached where it is opened, and a published port leads in", async () => {
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: { data: (socket, data) => void socket.write(data), end: (socket) => void socket.end() },
  });
  try {
    await using m = await machine({
      hostLoopback: true,
      allow: [`10.0.2.2:${server.port}`],
      publish: ["0:80"],
    });
    expect(await m.run(`echo over | nc -w 10 10.0.2.2 ${server.port}`)).toBe("over");
    expect(await m.run(`nc -w 10 10.0.2.2 ${server.port - 1} </dev/null`)).toContain("No route to host");
    await m.told({ address: "10.0.2.2", port: server.port - 1, allow: `10.0.2.2:${server.port - 1}` });
    await using listener = await m.agent.spawn(["nc", "-l", "-p", "80", "-e", "cat"]);
    await m.run("until netstat -ltn | grep -q ':80 '; do sleep 0.1; done");
    const { promise, resolve } = Promise.withResolvers<string>();
    const client = await Bun.connect({
      hostname: "127.0.0.1",
      port: m.vm.ports[0]!.port,
      socket: {
        open: (socket) => void socket.write("hello"),
        data: (_, data) => resolve(data.toString()),
        close: () => resolve("closed"),
      },
    });
    expect(await promise).toBe("hello");
    client.end();
    expect(listener.pid).toBeGreaterThan(0);
  } finally {
    server.stop(true);
  }
});

describe.skipIf(!possible)("an open network", () => {
  let m: Machine;
  beforeAll(async () => {
    m = await machine({ publish: ["0:80", "0:80/udp", "[::1]:0:80"] }, "host");
  });
  afterAll(() => m?.[Symbol.asyncDispose]());

  test("has its addresses and its name server at once", async () => {
    expect(await m.run("ip -o addr show dev eth0 | awk '{print $4}'")).toBe(
      "10.0.2.15/24\nfd63:6170:7361::15/64\nfe80::63:61ff:fe70:7361/64",
    );
    expect(await m.run("cat /etc/resolv.conf")).toBe("nameserver 10.0.2.3");
    expect(await m.run("cat /sys/class/net/eth0/mtu /sys/class/net/eth0/address")).toBe(
      "32768\n02:63:61:70:73:61",
    );
  });

  test("answers DHCP too", async () => {
    // RFC 2131: a discover from nowhere to everybody is answered with an offer
    const offer = await m.python(`import struct
s = socket(AF_INET, SOCK_DGRAM); s.setsockopt(SOL_SOCKET, SO_BROADCAST, 1); s.bind(("", 68)); s.settimeout(10)
discover = struct.pack(">BBBBIHHIIII", 1, 1, 6, 0, 7, 0, 0x8000, 0, 0, 0, 0) + bytes.fromhex("026361707361") + bytes(202)
s.sendto(discover + bytes.fromhex("63825363350101ff") + bytes(60), ("255.255.255.255", 67))
print(inet_ntoa(s.recv(999)[16:20]))`);
    expect(offer).toBe("10.0.2.15");
  });

  test("finds names, and reaches peers by IPv4, IPv6, TCP, UDP and ICMP", async () => {
    const echo = (host: string) =>
      m.python(`s = create_connection(("${host}", 7000), 10); s.send(b"hello"); print(s.recv(99).decode())`);
    expect(await echo("peer.test")).toBe("hello");
    expect(await echo(peer6)).toBe("hello");
    expect(await echo("nonesuch.test")).toContain("Name or service not known");
    const ping = (host: string) =>
      m.python(`s = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); s.settimeout(10); s.connect(("${host}", 0))
s.send(b"\\x08\\0\\xf7\\xfd\\0\\1\\0\\1"); print(s.recv(99)[20])`);
    expect(await ping("10.0.2.2")).toBe("0"); // an echo reply
    const [from, to] = (await Bun.file("/proc/sys/net/ipv4/ping_group_range").text())
      .split(/\s+/)
      .map(Number);
    if (from! <= 0 && to! >= 0) expect(await ping(peer)).toBe("0");
    expect(m.refusals).toEqual([]);
  });

  test("carries 64 MiB down and up to the byte", async () => {
    const down = await m.python(`import hashlib
s = create_connection(("${peer}", 7001), 30); h = hashlib.sha256(); b = bytearray(1 << 18)
while n := s.recv_into(b): h.update(memoryview(b)[:n])
print(h.hexdigest())`);
    expect(down).toBe(sha256);
    const up = await m.python(`s = create_connection(("${peer}", 7002), 30)
b = bytes((i * 7 + i // 256) & 255 for i in range(65536))
for _ in range(1024): s.sendall(b)
s.shutdown(SHUT_WR); print(s.recv(99).decode())`);
    expect(up).toBe(sha256);
  });

  test("carries datagrams of all sizes, but for those of more than one packet", async () => {
    const sizes =
      await m.python(`s = socket(AF_INET, SOCK_DGRAM); s.settimeout(10); s.connect(("${peer}", 7000))
for n in 0, 1, 1472, 1473, 9000, 32740: s.send(bytes(n)); print(len(s.recv(65536)), end=" ")`);
    expect(sizes).toBe("0 1 1472 1473 9000 32740");
    await m.python(`s = socket(AF_INET, SOCK_DGRAM); s.sendto(bytes(32741), ("${peer}", 7000))`);
    await m.told({ protocol: "frame", address: peer, why: "an IPv4 fragment" });
    m.refusals.length = 0;
  });

  test("keeps the host to itself: its loopback, its addresses, the metadata service", async () => {
    const own = Bun.listen({ hostname: "0.0.0.0", port: 0, socket: { data() {} } });
    try {
      for (const address of [
        "10.0.2.2",
        "10.0.2.77",
        "198.51.100.1",
        "169.254.169.254",
        "fd63:6170:7361::2",
      ]) {
        const connected = await m.python(
          `create_connection(("${address}", ${own.port}), 10); print("connected")`,
        );
        expect(connected).toMatch(/No route to host|Permission denied/);
      }
    } finally {
      own.stop(true);
    }
    await m.told({ address: "fd63:6170:7361::2" });
    const refused = m.refusals.map(({ address, why }) => `${address} ${why.split(",")[0]}`);
    expect(refused).toEqual([
      "10.0.2.2 the host's own services are reached with hostLoopback = true only",
      "198.51.100.1 the host's own address",
      "169.254.169.254 a link-local address",
      "fd63:6170:7361::2 the host's own services are reached with hostLoopback = true only",
    ]);
    const log = await readNetworkLog(m.vm.id);
    expect(log.trimEnd().split("\n")).toHaveLength(5); // with the fragment above
    expect(log).toMatch(/^\S+Z tcp 198\.51\.100\.1:\d+ refused: .*; to allow it: 198\.51\.100\.1:\d+$/m);
  });

  test("publishes ports, and tells which they are", async () => {
    const [tcp, udp, tcp6] = m.vm.ports as [
      RunningSandbox["ports"][0],
      RunningSandbox["ports"][0],
      RunningSandbox["ports"][0],
    ];
    expect(m.vm.ports.map(({ protocol, address, guestPort }) => [protocol, address, guestPort])).toEqual([
      ["tcp", "127.0.0.1", 80],
      ["udp", "127.0.0.1", 80],
      ["tcp", "::1", 80],
    ]);
    await using server = await m.agent.spawn([
      "python3",
      "-uc",
      `from socket import *
import threading
s = create_server(("", 80), family=AF_INET6, dualstack_ipv6=True)
def tcp():
    while True:
        c, _ = s.accept(); c.sendall(c.recv(99)); c.close()
u = socket(AF_INET, SOCK_DGRAM); u.bind(("", 80))
threading.Thread(target=tcp).start()
print("ready")
while True:
    d, p = u.recvfrom(99); u.sendto(d, p)`,
    ]);
    await server.stdout.getReader().read();
    for (const { address, port } of [tcp, tcp6]) {
      const { promise, resolve, reject } = Promise.withResolvers<string>();
      const client = await Bun.connect({
        hostname: address,
        port,
        socket: {
          open: (socket) => void socket.write("hello"),
          data: (_, data) => resolve(data.toString()),
          close: () => reject(new Error("closed")),
        },
      });
      expect(await promise).toBe("hello");
      client.end();
    }
    const client = createSocket("udp4");
    const { promise, resolve } = Promise.withResolvers<string>();
    client.on("message", (data) => resolve(data.toString()));
    client.send("hello", udp.port, udp.address);
    expect(await promise).toBe("hello");
    client.close();
  });
});

describe.skipIf(!possible)("a network within limits", () => {
  let m: Machine;
  beforeAll(async () => {
    m = await machine(
      { allow: ["peer.test:7000", "rebind.test", "private.test:80", `${other}:7001`] },
      "host",
    );
  });
  afterAll(() => m?.[Symbol.asyncDispose]());

  const connect = (host: string, port: number) =>
    m.python(`print(create_connection(("${host}", ${port}), 5) and "connected")`);

  test("an address is reached once a name that is allowed has led there, at the port that is", async () => {
    expect(await connect(peer, 7000)).toContain("No route to host");
    await m.told({ protocol: "tcp", address: peer, port: 7000, allow: `${peer}:7000` });
    expect(await connect("peer.test", 7000)).toBe("connected");
    expect(await connect(peer, 7000)).toBe("connected");
    expect(await connect("peer.test", 7001)).toContain("No route to host");
    await m.told({ name: "peer.test", allow: "peer.test:7001" });
    expect(await connect(other, 7001)).toBe("connected");
  });

  test("other names are not asked for, nor do names lead inside", async () => {
    expect(await connect("other.test", 7001)).toContain("gaierror");
    await m.told({ protocol: "dns", name: "other.test", allow: "other.test" });
    expect(await connect("rebind.test", 7000)).toContain("gaierror");
    await m.told({ protocol: "dns", name: "rebind.test", address: "127.0.0.1" });
    expect(await connect("private.test", 80)).toContain("gaierror");
    await m.told({ name: "private.test", address: "10.9.9.9", allow: "10.9.9.9" });
  });

  test("UDP, ICMP, IPv6, other name servers and DNS over TCP obey the same policy", async () => {
    const query = `b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\4peer\\4test\\0\\0\\1\\0\\1"`;
    const udp = (to: string, port: number) =>
      m.python(`s = socket(AF_INET, SOCK_DGRAM); s.connect(("${to}", ${port})); s.settimeout(5); s.send(${query})
try: print(len(s.recv(999)))
except OSError as e: print(e)`);
    expect(await udp(peer, 7000)).toContain("No route to host");
    expect(await udp(peer, 53)).toContain("No route to host");
    await m.told({ protocol: "udp", address: peer, port: 53 });
    expect(Number(await udp("10.0.2.3", 53))).toBeGreaterThan(30);
    expect(await connect("10.0.2.3", 53)).toContain("No route to host");
    expect(await connect(peer6, 7000)).toContain("Permission denied");
    await m.told({ address: peer6, allow: `[${peer6}]:7000` });
    const ping = await m.python(`s = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); s.settimeout(5)
s.sendto(b"\\x08\\0\\xf7\\xfd\\0\\1\\0\\1", ("${peer}", 0))
print(s.recv(99)[20])`);
    expect(ping).toBe("3"); // destination unreachable
    await m.told({ protocol: "icmp", address: peer });
  });

  test("rules change while it runs: what goes on against them is cut, for both sides", async () => {
    const { allow } = await m.vm.network.state();
    await m.vm.network.update({ allow: [...allow!, `${other}:7000`] });
    await using held = await m.agent.spawn([
      "python3",
      "-uc",
      `from socket import *
a, b = create_connection(("peer.test", 7000), 10), create_connection(("${other}", 7000), 10)
a.settimeout(20); print("open")
try: print(a.recv(9))
except OSError as error: print(error.strerror)
b.send(b"hello"); print(b.recv(9)); b.recv(9)`,
    ]);
    const output = held.stdout.lines()[Symbol.asyncIterator]();
    const read = async () => (await output.next()).value;
    expect(await read()).toBe("open");
    await m.vm.network.update({ allow: [`${other}:7000`], deny: ["peer.test"] });
    expect(await read()).toBe("Connection reset by peer");
    expect(await read()).toBe("b'hello'");
    await until(async () => (await peerConnections()).length === 1);
    expect(await peerConnections()).toEqual([`${other}:7000`]);
    expect(await connect("peer.test", 7000)).toContain("gaierror");
    const { allow: now, deny, rules } = await m.vm.network.state();
    expect({ now, deny }).toEqual({ now: [`${other}:7000`], deny: ["peer.test"] });
    expect(rules.at(-1)).toMatchObject({ allow: true, network: `${other}/32`, firstPort: 7000 });
    await expect(m.vm.network.update({ allow: ["no rule"] })).rejects.toThrow("allow[0]: ");
    await m.vm.network.update({ allow: allow!, deny: [] });
    expect(await connect("peer.test", 7000)).toBe("connected");
  });

  test("capsa network shows the rules, changes them and says which decides", async () => {
    const { name } = m.vm;
    const { stdout } = await capsa(["network", name]);
    expect(stdout).toMatch(/^deny {3}169\.254\.0\.0\/16 \(a link-local address/);
    expect(stdout).toContain("\nallow  peer.test:7000\n");
    expect(stdout).toContain(
      `\ndeny   everything else, names that no rule is for included\nname servers: ${peer}\n`,
    );
    const explain = (place: string) => capsa(["network", name, "--explain", place]);
    expect(await explain("peer.test:7000")).toMatchObject({
      exitCode: 0,
      stdout: 'peer.test:7000 is allowed by the rule allow = ["peer.test:7000"]\n',
    });
    const denied = await capsa([
      "network",
      name,
      "--deny",
      "peer.test:7000",
      "--allow",
      "more.test",
      "--json",
    ]);
    expect(JSON.parse(denied.stdout)).toMatchObject({ deny: ["peer.test:7000"] });
    expect(JSON.parse(denied.stdout).allow).not.toContain("peer.test:7000");
    expect(await explain("peer.test:7000")).toMatchObject({
      exitCode: 1,
      stdout:
        'peer.test:7000 is refused: the name would not be resolved, so nothing is sent: by the rule deny = ["peer.test:7000"]\n',
    });
    expect(await connect("peer.test", 7000)).toMatch(/gaierror|No route to host/);
    expect((await capsa(["network", name, "--allow", "peer.test:7000"])).exitCode).toBe(0);
    expect(await connect("peer.test", 7000)).toBe("connected");
    const wrong = await capsa(["network", name, "--allow", "https://x"]);
    expect(wrong).toMatchObject({ exitCode: 2 });
    expect(wrong.stderr).toContain('"https://x" is not HOST');
    await m.vm.pause();
    await expect(m.vm.network.state()).rejects.toMatchObject({ code: "EBUSY" });
    await m.vm.resume();
  });

  test("what is to be told of is told, and let through", async () => {
    const { log, allow } = await m.vm.network.state();
    expect(log).toEqual([]);
    await m.vm.network.update({ log: ["peer.test:7001"] });
    expect(await connect("peer.test", 7001)).toBe("connected");
    const access = { protocol: "tcp", address: peer, port: 7001, name: "peer.test", allow: "peer.test:7001" };
    await until(() => m.accesses.some(({ protocol }) => protocol === "tcp"));
    expect(m.accesses.at(-1)).toMatchObject({ ...access, inside: false });
    expect(m.accesses[0]).toMatchObject({ protocol: "dns", name: "peer.test", allow: "peer.test" });
    expect(await readNetworkLog(m.vm.id)).toMatch(
      /^\S+Z tcp 198\.51\.100\.2:7001 \(peer\.test\) let through$/m,
    );
    await m.vm.network.update({ log: [], allow: allow! });
  });

  test("packets made by hand get no further", async () => {
    const before = m.refusals.length;
    // forged senders, a fragment, the host's loopback, an extension header: as raw frames, to a port that is allowed
    await m.python(`import struct
s = socket(AF_PACKET, SOCK_RAW); s.bind(("eth0", 0))
me, host = bytes.fromhex("026361707361"), bytes.fromhex("52550a000202")
def csum(b):
    n = sum(struct.unpack(">%dH" % (len(b) // 2), b)); n = (n >> 16) + (n & 65535); return 65535 - (n + (n >> 16) & 65535)
def ip4(src, dst, frag=0, proto=6, port=7000):
    tcp = struct.pack(">HHIIBBHHH", 999, port, 1, 0, 80, 2, 999, 0, 0)
    pseudo = inet_aton(src) + inet_aton(dst) + struct.pack(">BBH", 0, proto, 20)
    tcp = tcp[:16] + struct.pack(">H", csum(pseudo + tcp)) + tcp[18:]
    head = struct.pack(">BBHHHBBH", 69, 0, 40, 1, frag, 64, proto, 0) + inet_aton(src) + inet_aton(dst)
    return head[:10] + struct.pack(">H", csum(head)) + head[12:] + tcp
def send(packet, source=me, kind=b"\\x08\\0"): s.send(host + source + kind + packet)
send(ip4("10.0.2.99", "${peer}"))
send(ip4("${peer}", "10.0.2.2"))
send(ip4("10.0.2.15", "${peer}"), source=b"\\2\\0\\0\\0\\0\\1")
send(ip4("10.0.2.15", "${peer}", frag=0x2000))
send(ip4("10.0.2.15", "127.0.0.1", port=22))
send(ip4("10.0.2.15", "0.0.0.0", port=22))
send(ip4("10.0.2.15", "${peer}", proto=47))
v6 = inet_pton(AF_INET6, "fd63:6170:7361::15")
send(struct.pack(">IHBB", 6 << 28, 8, 44, 64) + v6 + inet_pton(AF_INET6, "${peer6}") + bytes(8), kind=b"\\x86\\xdd")
for i in range(5000): send(struct.pack(">HHBBH", 1, 2048, 6, 4, 1) + me + inet_aton("10.0.2.%d" % (i % 250)) + bytes(6) + inet_aton("10.0.2.2"), kind=b"\\x08\\6")
`);
    expect(await connect("peer.test", 7000)).toBe("connected"); // it goes on, and all of that has been looked at
    const said = m.refusals
      .slice(before)
      .map(({ protocol, address, why }) => `${protocol} ${address} ${why}`);
    for (const line of [
      `tcp ${peer} a forged sender`,
      "tcp 10.0.2.2 a forged sender",
      `frame ${peer} an IPv4 fragment`,
      "tcp 127.0.0.1 an address that never leaves a machine",
      "tcp 0.0.0.0 an address that never leaves a machine",
      `frame ${peer} an IP protocol other than TCP, UDP and ICMP`,
      `frame ${peer6} an IPv6 fragment`,
    ])
      expect(said).toContain(line);
    expect(said.length).toBeLessThan(150);
  });
});

describe.skipIf(!possible)("a network with limits to how much", () => {
  const bytesPerSecond = 2_000_000;
  const bytes = 3_000_000;
  let m: Machine;
  beforeAll(async () => {
    m = await machine({ maxConnections: 2, bytesPerSecond });
  });
  afterAll(() => m?.[Symbol.asyncDispose]());

  test("so many connections there are at a time, and no more", async () => {
    const hold = ["sh", "-c", "sleep 1000 | nc peer.test 7000"];
    await using first = await m.agent.spawn(hold);
    await using second = await m.agent.spawn(hold);
    await until(async () => (await m.vm.network.counters()).connections === 2);
    expect(await m.run("nc -w 10 peer.test 7000 </dev/null")).toContain("No route to host");
    await m.told({
      protocol: "tcp",
      address: peer,
      port: 7000,
      why: "2 connections are open, which is the limit",
    });
    expect(await m.vm.network.counters()).toMatchObject({ connections: 2, maxConnections: 2, refused: 1 });
    await m.run("killall nc");
    await until(async () => (await m.vm.network.counters()).connections === 0);
    expect(await m.run("echo on | nc -w 10 peer.test 7000")).toBe("on");
    expect(first.pid).not.toBe(second.pid);
  });

  test("so much passes in a second, each way, and is counted", async () => {
    const least = (bytes / bytesPerSecond) * 1000 - 500; // what was saved before, and is under way at the end
    const timed = async (script: string) => {
      const { fromGuest, toGuest } = await m.vm.network.counters();
      const began = performance.now();
      expect(await m.run(script)).toMatch(/^(3000000|[0-9a-f]{64})$/);
      expect(performance.now() - began).toBeGreaterThan(least);
      const after = await m.vm.network.counters();
      return [after.fromGuest.bytes - fromGuest.bytes, after.toGuest.bytes - toGuest.bytes];
    };
    const [, down] = await timed(`nc peer.test 7001 </dev/null | head -c ${bytes} | wc -c`);
    expect(down).toBeGreaterThanOrEqual(bytes);
    const [up] = await timed(`head -c ${bytes} /dev/zero | nc peer.test 7002`);
    expect(up).toBeGreaterThanOrEqual(bytes);
    expect((await capsa(["network", m.vm.name])).stdout).toMatch(
      /^received \d+ packets \(\d+ bytes\), sent .*, of which 1 were refused; \d of at most 2 connections$/m,
    );
  });
});

/** Whether the host finds the name. */
function isFound(name: string): boolean {
  return Bun.spawnSync(["getent", "hosts", name], { stdout: "ignore" }).success;
}

const mirror = "deb.debian.org";
const registry = (() => {
  const asked = Bun.spawnSync(["npm", "config", "get", "registry"], { stderr: "ignore" });
  const url = asked.success ? asked.stdout.toString().trim() : "";
  return URL.canParse(url) ? new URL(url) : new URL("http://none.invalid");
})();
const registryPort = registry.port || (registry.protocol === "https:" ? "443" : "80");

describe.skipIf(!isFound(registry.hostname) || !isFound(mirror))("package managers", () => {
  let m: Machine;
  beforeAll(async () => {
    m = await machine({ allow: [`${registry.hostname}:${registryPort}`, `${mirror}:80`] }, "host", "host");
  });
  afterAll(() => m?.[Symbol.asyncDispose]());

  test("npm installs a package, with nothing but its registry and Debian's mirror allowed", async () => {
    const install =
      "mkdir /work && cd /work && npm install --no-audit --no-fund --no-update-notifier is-number 2>&1";
    const { stdout, exitCode } = await m.agent.exec(install, { timeoutMs: 100_000 });
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0 });
    expect(await m.agent.exists("/work/node_modules/is-number/index.js")).toBe(true);
    expect(m.refusals).toEqual([]);
  });

  test("apt-get updates its lists from that mirror, and from no other", async () => {
    const source = (host: string) =>
      `deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://${host}/debian-security bookworm-security main`;
    await m.run(`mkdir -p /var/lib/apt/lists/partial /var/cache/apt/archives/partial /var/lib/dpkg /etc/apt/apt.conf.d \
/etc/apt/preferences.d /etc/apt/trusted.gpg.d; touch /var/lib/dpkg/status; echo '${source(mirror)}' >/etc/apt/sources.list`);
    const update = "apt-get -o APT::Sandbox::User=root update 2>&1";
    expect(await m.run(update)).toContain("Fetched");
    await m.run(`echo '${source("mirror.invalid")}' >/etc/apt/sources.list`);
    expect(await m.run(update)).toContain("resolving 'mirror.invalid");
    await m.told({ protocol: "dns", name: "mirror.invalid", allow: "mirror.invalid" });
  });
});

test.skipIf(!possible)("capsa learn prints the rules with which the same steps pass", async () => {
  await using dir = await scratch();
  const steps = [
    `test "$(echo hello | nc -w 10 peer.test 7000)" = hello`,
    `test "$(nc -w 10 ${other} 7001 </dev/null | head -c 3 | wc -c)" = 3`,
    "nslookup -type=a other.test >/dev/null",
    "nc -w 1 private.test 80 </dev/null; true",
  ];
  const file = (network: string) => {
    const script = steps.map((step) => `[[steps]]\nexec = ${JSON.stringify(step)}\n`).join("");
    return Bun.write(
      join(dir.path, "capsa.toml"),
      `[sandbox.box]\nmemory = "128M"\n${network}nameServers = ["${peer}"]\n${script}`,
    );
  };
  await file("[sandbox.box.network]\nallow = []\n");
  const learned = await capsa(["learn"], { cwd: dir.path });
  expect(learned).toMatchObject({
    exitCode: 0,
    stdout: `[sandbox.box.network]
allow = [
  "10.9.9.9:80",
  "${other}:7001",
  "peer.test:7000",
  "private.test:80",
]
# asked for and not reached, so without a rule: other.test
`,
  });
  steps.splice(2, 1);
  await file(learned.stdout);
  const { exitCode, stderr } = await capsa(["up"], { cwd: dir.path });
  expect(stderr).not.toContain("network refused");
  expect(exitCode).toBe(0);
});

test("an allow-list without entries lets nothing through, and says why", async () => {
  await using m = await machine({ allow: [] });
  expect(await m.run("nslookup example.org")).toContain("REFUSED");
  expect(await m.run("nc -w 5 192.0.2.77 443 </dev/null")).toContain("No route to host");
  await m.told({
    protocol: "dns",
    name: "example.org",
    why: "no rule allows the name",
    allow: "example.org",
  });
  await m.told({ protocol: "tcp", address: "192.0.2.77", port: 443, allow: "192.0.2.77:443" });
});
