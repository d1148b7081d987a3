/** Private networks: sandboxes that reach each other, and nothing else. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import {
  type Agent,
  Capsa,
  NetworkMode,
  type PrivateNetwork,
  type RunningSandbox,
  sandbox,
} from "../../src/index.ts";
import { type Programs, programs, tag, until } from "./network_machines.ts";

interface Member extends Programs {
  readonly vm: RunningSandbox;
  readonly agent: Agent;
}

async function start(
  as: string,
  networks: readonly PrivateNetwork[],
  { rootfs = "base", reaches = false }: { rootfs?: "base" | "host"; reaches?: boolean } = {},
): Promise<Member> {
  const alone = Capsa.sandbox().name(`${as}-${tag}`).memoryMb(256).rootfs(rootfs);
  const joined = networks.reduce((builder, network) => builder.join(network, as), alone);
  const connected = reaches ? joined.network(NetworkMode.UserNat({ allow: [] })) : joined;
  const vm = await connected.run("/bin/sleep", ["infinity"]).build();
  const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  return { vm, agent, ...programs(agent) };
}

const backend = Capsa.network("backend");
const other = Capsa.network("other");
let web: Member;
let client: Member;
let stranger: Member;

beforeAll(async () => {
  // at once: who comes first is open, and each finds the others
  [web, client, stranger] = await Promise.all([
    start("web", [backend], { rootfs: "host" }),
    start("client", [backend], { rootfs: "host", reaches: true }),
    start("stranger", [other]),
  ]);
});
afterAll(async () => {
  await Promise.all([web, client, stranger].map((member) => member?.vm.kill()));
});

const SERVER = `from socket import *
import hashlib, threading
def tcp(s):
  while True:
    c, _ = s.accept(); h = hashlib.sha256()
    while b := c.recv(1 << 18): h.update(b)
    c.send(h.hexdigest().encode()); c.close()
def udp(s):
  while True: b, a = s.recvfrom(65536); s.sendto(b, a)
u = socket(AF_INET6, SOCK_DGRAM); u.bind(("", 7000))
t = create_server(("", 7000), family=AF_INET6, dualstack_ipv6=True)
threading.Thread(target=tcp, args=(t,)).start(); threading.Thread(target=udp, args=(u,)).start()
print("ready", flush=True)`;

test("members find each other by name, and speak TCP, UDP and ICMP by IPv4 and IPv6", async () => {
  await using server = await web.agent.spawn(["python3", "-c", SERVER]);
  for await (const line of server.stdout.lines()) if (line === "ready") break;
  const said = await client.python(`import hashlib
for family in AF_INET, AF_INET6:
  address = getaddrinfo("web", 7000, family, SOCK_STREAM)[0][4]
  s = socket(family, SOCK_STREAM); s.settimeout(30); s.connect(address)
  block = bytes((i * 7 + i // 256) & 255 for i in range(1 << 16)); h = hashlib.sha256()
  for _ in range(128): s.sendall(block); h.update(block)
  s.shutdown(SHUT_WR); print(s.recv(99).decode() == h.hexdigest())
  u = socket(family, SOCK_DGRAM); u.settimeout(30); u.connect(address)
  for n in 0, 1, 1472, 9000, 32720: u.send(bytes(n)); print(len(u.recv(65536)))
  e = socket(family, SOCK_DGRAM); e.settimeout(30); e.connect((address[0], 7001)); e.send(b"x")
  try: e.recv(9)
  except ConnectionRefusedError: print("refused")
`);
  expect(said.split("\n")).toEqual([
    ...["True", "0", "1", "1472", "9000", "32720", "refused"],
    ...["True", "0", "1", "1472", "9000", "32720", "refused"],
  ]);
  const echo = (family: string, protocol: string, request: string) =>
    client.python(`s = socket(${family}, SOCK_RAW, ${protocol}); s.settimeout(30)
s.connect((getaddrinfo("web", 0, ${family})[0][4][0], 0)); s.send(${request})
while (b := s.recv(99))[${family === "AF_INET" ? 20 : 0}] not in (0, 129): pass
print("reply")`);
  expect(await echo("AF_INET", "IPPROTO_ICMP", 'b"\\x08\\0\\xf7\\xfd\\0\\1\\0\\1"')).toBe("reply");
  expect(await echo("AF_INET6", "IPPROTO_ICMPV6", 'b"\\x80\\0\\0\\0\\0\\1\\0\\1"')).toBe("reply");
});

test("with the host's network there are two cards, and one name server has the names of both", async () => {
  expect(await client.run("ls /sys/class/net; cat /etc/resolv.conf; ip route | grep default")).toBe(
    "eth0\nlan0\nlo\nnameserver 10.0.2.3\ndefault via 10.0.2.2 dev eth0",
  );
  expect(await client.python('print(gethostbyname("web").startswith("10.202."))')).toBe("True");
  expect(await web.python("print(gethostbyname(gethostname()).startswith('10.202.'))")).toBe("True");
  expect(await client.python('gethostbyname("example.org")')).toContain("Temporary failure");
});

test("a network by itself leads nowhere else, and not to other networks", async () => {
  expect(await stranger.run("ls /sys/class/net; ip route; ip -6 route show default")).toMatch(
    /^lan0\nlo\n10\.202\.\d+\.0\/24 dev lan0 scope link {2}src 10\.202\.\d+\.2$/,
  );
  const address = await client.python('print(gethostbyname("web"))');
  expect(await stranger.run("nslookup web")).toContain("NXDOMAIN");
  // not by way of the name server, either, nor of a member
  const server = await stranger.run("sed 's/nameserver //' /etc/resolv.conf");
  for (const place of [address, "198.51.100.1", "127.0.0.1"])
    expect(
      await stranger.run(`ip route add ${place}/32 via ${server}; nc -w 10 ${place} 7000 </dev/null`),
    ).toContain("refused");
});

test("a member cannot pass for another, nor say what is the network's own to say", async () => {
  const own = await web.python('print(gethostbyname("web"))');
  const to = await web.python('print(gethostbyname("client"))');
  const forged = own.replace(/\d+$/, "77");
  // the client looks at all that comes, from its own card, until the honest packet behind the forged ones
  const watching = client.agent.exec([
    "python3",
    "-c",
    `from socket import *
s = socket(AF_PACKET, SOCK_RAW, htons(3)); s.bind(("lan0", 0)); s.settimeout(30)
import pathlib; pathlib.Path("/tmp/watching").touch()
seen = []
while True:
  b, a = s.recvfrom(65536)
  if a[2] == 4: continue
  seen.append(b)
  if b.endswith(b"honest"): break
print(sum(b.endswith(b"forged") or b[12:14] == b"\\x08\\x06" for b in seen), len(seen))`,
  ]);
  await until(() => client.agent.exists("/tmp/watching"));
  const sent = await web.python(`import struct
s = socket(AF_PACKET, SOCK_RAW); s.bind(("lan0", 0))
own = open("/sys/class/net/lan0/address").read().strip().replace(":", "")
own = bytes.fromhex(own); to = own[:5] + bytes([int("${to}".split(".")[3])])
def ip(source, data, fragment=0):
  head = struct.pack(">BBHHHBBH4s4s", 69, 0, 28 + len(data), 0, fragment, 64, 17, 0, inet_aton(source), inet_aton("${to}"))
  sum = 0
  for i in range(0, 20, 2): sum += head[i] << 8 | head[i + 1]
  sum = ~((sum & 65535) + (sum >> 16)) & 65535
  return head[:10] + struct.pack(">H", sum) + head[12:] + struct.pack(">HHHH", 9, 9, 8 + len(data), 0) + data
def send(to, source, data, kind=0x800): s.send(to + source + struct.pack(">H", kind) + data)
arp = bytes([0, 1, 8, 0, 6, 4, 0, 2]) + own + inet_aton("${forged}") + to + inet_aton("${to}")
for _ in range(50):
  send(to, own, ip("${forged}", b"forged")); send(to, own, ip("${to}", b"forged"))
  send(to, own[:5] + b"\\x4d", ip("${own}", b"forged")); send(b"\\xff" * 6, own, ip("${own}", b"forged"))
  send(to, own, ip("${own}", b"forged", 0x2000)); send(to, own, arp, 0x806); send(b"\\xff" * 6, own, arp, 0x806)
  send(to, own, b"forged", 0x88b5); send(to, own, b"")
send(to, own, ip("${own}", b"honest")); print("sent")`);
  expect(sent).toBe("sent");
  expect((await watching).stdout).toBe("0 1\n");
});

test("a member that is killed is gone for the others, and its place is free", async () => {
  const late = await start("late", [backend, other]);
  expect(
    await late.run("ls /sys/class/net | tr '\\n' ' '; ping -c 1 -W 30 -4 client >/dev/null; echo $?"),
  ).toBe("lan0 lan1 lo 0");
  expect(await stranger.run("ping -c 1 -W 30 -4 late >/dev/null; echo $?")).toBe("0");
  process.kill(late.vm.pid, "SIGKILL");
  await late.vm.exited;
  await until(async () => (await web.python('gethostbyname("late")')).includes("not known"));
  expect(await web.python('gethostbyname("late")')).toContain("not known");
  const taken = Capsa.sandbox().join(backend, "web").run("/bin/true").build();
  await expect(taken).rejects.toThrow('the network "backend" already has a member "web"');
  const again = await start("late", [backend]);
  expect(await again.run("ping -c 1 -W 30 -4 web >/dev/null; echo $?")).toBe("0");
  expect(await web.python('gethostbyname("late"); print("found")')).toBe("found");
  const { runtimeDir } = again.vm;
  expect(readdirSync(runtimeDir)).toContain("lan0.sock");
  await again.vm.kill();
  expect(readdirSync(join(runtimeDir, ".."))).not.toContain(runtimeDir.split("/").at(-1));
});
