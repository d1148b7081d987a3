/** The network of sandboxes, seen from their insides: what it carries and what it lets in. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { createSocket } from "node:dgram";
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { Capsa, NetworkMode, type RunningSandbox, readNetworkLog, sandbox } from "../../src/index.ts";
import { type Machine, machine, peer, peer6, tag, usePeers } from "./network_machines.ts";

const possible = usePeers();

/** What the peer's port 7001 sends, and what port 7002 is sent. */
const block = Buffer.from(Uint8Array.from({ length: 65536 }, (_, i) => (i * 7 + (i >> 8)) & 255));
const digest = createHash("sha256");
for (let i = 0; i < 256; i++) digest.update(block);
const sha256 = digest.digest("hex");

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

  test("its own name is its own affair", async () => {
    const { hostname } = await m.agent.info();
    const found = `print(*[getaddrinfo("${hostname}", 1, f)[0][4][0] for f in (AF_INET, AF_INET6)])`;
    expect(await m.python(found)).toBe("127.0.1.1 ::1");
    expect(await m.run(`busybox nslookup ${hostname} | grep -c 'Address: 10.0.2.15'`)).toBe("1"); // by DNS alone
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

  test("carries 16 MiB down and up to the byte", async () => {
    const down = await m.python(`import hashlib
s = create_connection(("${peer}", 7001), 30); h = hashlib.sha256(); b = bytearray(1 << 18)
while n := s.recv_into(b): h.update(memoryview(b)[:n])
print(h.hexdigest())`);
    expect(down).toBe(sha256);
    const up = await m.python(`s = create_connection(("${peer}", 7002), 30)
b = bytes((i * 7 + i // 256) & 255 for i in range(65536))
for _ in range(256): s.sendall(b)
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

  test("datagrams of all the guest's ports have 256 of the host's sockets, and go on being answered", async () => {
    const last =
      await m.python(`s = socket(AF_INET, SOCK_DGRAM); s.settimeout(10); s.connect(("${peer}", 7000))
def echo(): s.send(b"on"); return s.recv(9).decode()
for port in range(2000, 5000):
    with socket(AF_INET, SOCK_DGRAM) as one: one.bind(("", port)); one.sendto(b"x", ("${peer}", 9))
    if port % 100 == 0: echo()
print(echo())`);
    expect(last).toBe("on");
    expect(datagramSockets(m.vm.pid)).toBe(256 + 1); // with the published port's
    expect(await m.vm.network.counters()).toMatchObject({ connections: 256 });
    expect(
      await m.python(
        `s = create_connection(("${peer}", 7000), 10); s.send(b"too"); print(s.recv(9).decode())`,
      ),
    ).toBe("too");
  });
});

/** How many sockets for UDP a process has, and those that it has started. */
function datagramSockets(pid: number): number {
  const known = ["udp", "udp6"].flatMap((table) =>
    readFileSync(`/proc/net/${table}`, "utf8")
      .trim()
      .split("\n")
      .slice(1)
      .map((line) => `socket:[${line.trim().split(/\s+/)[9]}]`),
  );
  const held = (one: number) => {
    const directory = `/proc/${one}/fd`;
    return readdirSync(directory).map((fd) => readlinkSync(join(directory, fd)));
  };
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .split(" ")
    .filter(Boolean)
    .map(Number);
  return [pid, ...children].flatMap(held).filter((link) => known.includes(link)).length;
}

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
