/** Ways out of a sandbox's network that are tried from its inside: each leads nowhere, is told, and harms nothing else. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { explainNetwork, NetworkMode, type NetworkRefusal } from "../../src/index.ts";
import {
  changeHost,
  type Machine,
  machine,
  near,
  other,
  own,
  peer,
  peer6,
  usePeers,
} from "./network_machines.ts";

const possible = usePeers();

/** Python that sends frames made by hand: by default from the guest's own addresses to the peer's open port. */
const BY_HAND = `import struct
s = socket(AF_PACKET, SOCK_RAW); s.bind(("eth0", 0))
me, host = bytes.fromhex("026361707361"), bytes.fromhex("52550a000202")
ME4, ME6, PEER, PEER6 = "10.0.2.15", "fd63:6170:7361::15", "${peer}", "${peer6}"
def csum(b):
    b += bytes(len(b) % 2)
    n = sum(struct.unpack(">%dH" % (len(b) // 2), b)); n = (n >> 16) + (n & 65535); return 65535 - (n + (n >> 16) & 65535)
def addr(a): return inet_pton(AF_INET6 if ":" in a else AF_INET, a)
def tcp(src, dst, port, flags=2):
    head = struct.pack(">HHIIBBHHH", 999, port, 1, 0, 80, flags, 999, 0, 0)
    sum = csum(addr(src) + addr(dst) + struct.pack(">II", 20, 6) + head)
    return head[:16] + struct.pack(">H", sum) + head[18:]
def ip4(src=ME4, dst=PEER, frag=0, proto=6, port=7000, flags=2, more=b"", payload=None):
    payload = tcp(src, dst, port, flags) if payload is None else payload
    size = 20 + len(more)
    head = struct.pack(">BBHHHBBH", 64 + size // 4, 0, size + len(payload), 1, frag, 64, proto, 0) + addr(src) + addr(dst) + more
    return head[:10] + struct.pack(">H", csum(head)) + head[12:] + payload
def ip6(src=ME6, dst=PEER6, proto=6, hops=255, port=7000, payload=None):
    payload = tcp(src, dst, port) if payload is None else payload
    return struct.pack(">IHBB", 6 << 28, len(payload), proto, hops) + addr(src) + addr(dst) + payload
def icmp6(kind, body, src=ME6, dst="ff02::1:ff00:2"):
    part = struct.pack(">BBH", kind, 0, 0) + body
    sum = csum(addr(src) + addr(dst) + struct.pack(">II", len(part), 58) + part)
    return ip6(src, dst, 58, payload=part[:2] + struct.pack(">H", sum) + part[4:])
def arp(sender, target, op=1): return struct.pack(">HHBBH", 1, 2048, 6, 4, op) + me + addr(sender) + bytes(6) + addr(target)
def send(packet, source=me, kind=None):
    kind = kind or (b"\\x86\\xdd" if packet[0] >> 4 == 6 else b"\\x08\\0")
    s.send(host + source + kind + packet)
`;

describe.skipIf(!possible)("a way out", () => {
  let m: Machine;
  beforeAll(async () => {
    const names = [
      "peer.test:7000",
      "rebind.test",
      "turning.test:7000",
      "own.test:7000",
      "six.test",
      "*.tunnel.test",
    ];
    m = await machine({ allow: [...names, `${other}:7000`] }, "host");
  });
  afterAll(() => m?.[Symbol.asyncDispose]());
  beforeEach(() => {
    m.refusals.length = 0;
  });

  const connect = (host: string, port: number) =>
    m.python(`print(create_connection(("${host}", ${port}), 5) and "connected")`);

  /** Send by hand; the network goes on afterwards, and each of these refusals was told. */
  async function byHand(script: string, told: readonly Partial<NetworkRefusal>[]): Promise<void> {
    expect(await m.python(BY_HAND + script)).toBe("");
    expect(await connect("peer.test", 7000)).toBe("connected"); // behind them: they have been looked at
    for (const refusal of told) await m.told(refusal);
  }

  test("raw packets: other protocols, other kinds of frames, headers with options", () =>
    byHand(
      `for n in 1, 13, 20: send(ip4()[:n], kind=b"\\x08\\0")
send(ip4(proto=47))
send(ip4(proto=132))
send(ip4(more=bytes([131, 7, 4]) + addr("${other}") + b"\\0"))
send(ip6(proto=0, payload=b"\\6\\0\\5\\2\\0\\0\\0\\0" + bytes(20)))
send(ip6(proto=43, payload=b"\\6\\2\\0\\1\\0\\0\\0\\0" + addr("::1") + bytes(20)))
send(bytes(46), kind=b"\\x88\\xf8")
send(ip4(port=7001))
send(ip4(port=7001, flags=16))`,
      [
        { protocol: "frame", address: peer, why: "an IP protocol other than TCP, UDP and ICMP" },
        { protocol: "frame", address: peer, why: "IPv4 options" },
        { address: peer6, why: "an IPv6 extension header, or a protocol other than TCP, UDP and ICMPv6" },
        { protocol: "frame", why: "a frame that is neither ARP nor IP" },
        { protocol: "tcp", address: peer, port: 7001, why: "no rule allows it" },
      ],
    ));

  test("forged senders: addresses and stations that are not the guest's", () =>
    byHand(
      `send(ip4(src="10.0.2.99"))
send(ip4(src=PEER, dst="10.0.2.2"))
send(ip4(), source=b"\\2\\0\\0\\0\\0\\1")
send(ip6(src="fd63:6170:7361::99"))
send(ip6(src="fe80::63:61ff:fe70:7361"))
send(ip4(src="127.0.0.1", dst="10.0.2.2"))`,
      [
        { protocol: "tcp", address: peer, why: "a forged sender" },
        { protocol: "tcp", address: "10.0.2.2", why: "a forged sender" },
        { protocol: "tcp", address: peer6, why: "a forged sender" },
      ],
    ));

  test("fragments: the first, a tiny one, one that overlaps it, those of IPv6", () =>
    byHand(
      `whole = tcp(ME4, PEER, 22)
send(ip4(frag=0x2000))
send(ip4(frag=0x2000, payload=whole[:8]))
send(ip4(frag=1, payload=whole[:12]))
send(ip6(proto=44, payload=b"\\6\\0\\0\\1\\0\\0\\0\\1" + tcp(ME6, PEER6, 22)))
send(ip6(proto=44, payload=b"\\6\\0\\0\\0\\0\\0\\0\\1" + tcp(ME6, PEER6, 22)))`,
      [
        { protocol: "frame", address: peer, why: "an IPv4 fragment" },
        { protocol: "frame", address: peer6, why: "an IPv6 fragment" },
      ],
    ));

  test("ARP and neighbour floods, and claims to be the gateway", async () => {
    await byHand(
      `for i in range(3000): send(arp("10.0.2.%d" % (i % 250), "10.0.2.2", 1 + i % 2), kind=b"\\x08\\6")
for i in range(3000):
    address = addr("fe80::%x" % (i + 1))
    send(icmp6(135, bytes(4) + addr("fd63:6170:7361::2") + b"\\1\\1" + me, src="fe80::%x" % (i + 1)))
    send(icmp6(136, b"\\x60\\0\\0\\0" + address + b"\\2\\1" + me, src="fe80::%x" % (i + 1), dst="ff02::1"))
for i in range(100): send(icmp6(133, bytes(4)))
send(icmp6(136, b"\\xe0\\0\\0\\0" + addr("fd63:6170:7361::2") + b"\\2\\1" + me, src="fd63:6170:7361::2", dst="ff02::1"))
send(icmp6(134, bytes(12), src="fe80::1", dst="ff02::1"))`,
      [{ why: "a forged sender" }],
    );
    expect(m.refusals.length).toBeLessThan(120);
    const echo = await m.python(`s = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6); s.settimeout(10)
s.sendto(b"\\x80\\0\\0\\0\\0\\1\\0\\1", ("fd63:6170:7361::2", 0))
while s.recv(999)[0] != 129: pass
print("echo")`);
    expect(echo).toBe("echo");
  });

  test("DNS by another resolver", async () => {
    const ask = (address: string, port = 53) =>
      m.python(`s = socket(AF_INET6 if ":" in "${address}" else AF_INET, SOCK_DGRAM); s.settimeout(5)
s.connect(("${address}", ${port})); s.send(b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\4peer\\4test\\0\\0\\1\\0\\1"); print(len(s.recv(999)))`);
    expect(await ask(peer)).toContain("No route to host");
    expect(await ask(peer6)).toContain("Permission denied");
    expect(await ask(peer, 5353)).toContain("No route to host");
    await m.told({ protocol: "udp", address: peer, port: 53, why: "no rule allows it" });
    await m.told({ protocol: "udp", address: peer6, port: 53 });
    expect(await connect(peer, 853)).toContain("No route to host");
    expect(Number(await ask("10.0.2.3"))).toBeGreaterThan(30);
  });

  test("DNS over TCP", async () => {
    expect(await connect(peer, 53)).toContain("No route to host");
    await m.told({ protocol: "tcp", address: peer, port: 53, why: "no rule allows it" });
    expect(await connect("fd63:6170:7361::3", 53)).toContain("Permission denied");
    // the name server's own is no other way than that by datagrams
    const code =
      await m.python(`s = create_connection(("10.0.2.3", 53), 10); q = bytes.fromhex("0007010000010000000000000662796e616d65047465737400000100" "01")
s.send(bytes([0, len(q)]) + q); print(s.recv(99)[5] & 15)`);
    expect(code).toBe("5");
    await m.told({ protocol: "dns", name: "byname.test", why: "no rule allows the name" });
  });

  test("data in names: long ones, and many", async () => {
    const label = "a".repeat(63);
    expect(await connect(`${label}.${label}.tunnel.test`, 7000)).toContain("gaierror");
    await m.told({ protocol: "dns", why: "more than 128 bytes" });
    expect(
      await m.python(`s = socket(AF_INET, SOCK_DGRAM); s.connect(("10.0.2.3", 53))
for _ in range(1000): s.send(b"\\0\\7\\1\\0\\0\\1\\0\\0\\0\\0\\0\\0\\4many\\6tunnel\\4test\\0\\0\\1\\0\\1")`),
    ).toBe("");
    await m.told({ protocol: "dns", why: "more than 50 names a second" });
    expect(await connect("peer.test", 7000)).toBe("connected"); // a name that a rule is for by itself
  });

  test("IPv6 around a policy of IPv4 addresses", async () => {
    expect(await connect(other, 7000)).toBe("connected");
    const [a, b, c, d] = other.split(".").map(Number) as [number, number, number, number];
    const hex = (high: number, low: number) => (high * 256 + low).toString(16);
    const embedded = `${hex(a, b)}:${hex(c, d)}`;
    for (const address of [peer6, `64:ff9b::${embedded}`, `2002:${embedded}::1`, `::${embedded}`])
      expect(await connect(address, 7000)).toMatch(/Permission denied|No route to host/);
    await m.told({ address: peer6, port: 7000, why: "no rule allows it" });
    await byHand(`send(ip6(dst="::ffff:${other}")); send(ip6(src="::ffff:10.0.2.15"))`, [
      { protocol: "frame", why: "an IPv4 address in an IPv6 header" },
    ]);
    expect(await connect("six.test", 7000)).toContain("gaierror");
    await m.told({ protocol: "dns", name: "six.test", address: "fd63:6170:7361::2" });
  });

  test("the host's loopback, and its own addresses", async () => {
    const listener = Bun.listen({ hostname: "::", port: 0, socket: { data() {} } });
    try {
      for (const address of ["10.0.2.2", "10.0.2.77", own, "fd63:6170:7361::2", "2001:db8:cafe::1"])
        expect(await connect(address, listener.port)).toMatch(/No route to host|Permission denied/);
      expect(await connect("own.test", 7000)).toContain("No route to host");
      await m.told({
        address: own,
        port: 7000,
        name: "own.test",
        why: "the host's own address",
      });
      await byHand(
        `for dst in "127.0.0.1", "0.0.0.0", "127.1.2.3": send(ip4(dst=dst, port=${listener.port}))
for dst in "::1", "::", "64:ff9b::7f00:1", "::7f00:1": send(ip6(dst=dst, port=${listener.port}))`,
        [
          { address: "127.0.0.1", why: "an address that never leaves a machine" },
          { address: "0.0.0.0", why: "an address that never leaves a machine" },
          { address: "::1", why: "an address that never leaves a machine" },
        ],
      );
    } finally {
      listener.stop(true);
    }
  });

  test("the clouds' metadata services", async () => {
    const services4 = ["169.254.169.254", "100.100.100.200", "168.63.129.16", "192.0.0.192"];
    for (const address of [...services4, "fd00:ec2::254", "fd00:42::42", "fd20:ce::254"]) {
      expect(await connect(address, 80)).toMatch(/No route to host|Permission denied/);
      await m.told({ address, port: 80, why: "which only a rule for it opens" });
    }
  });

  test("rebinding: a name that led outside leads inside later", async () => {
    expect(await connect("turning.test", 7000)).toBe("connected");
    const inside = ["127.0.0.1", "10.0.2.2", "169.254.169.254", "10.9.9.9"];
    for (const address of inside) {
      expect(await connect("turning.test", 7000)).toContain("gaierror"); // it may have asked more than once
      expect(await connect(address, 7000)).toMatch(/No route to host|Connection refused/);
    }
    for (const address of inside) await m.told({ protocol: "dns", name: "turning.test", address });
    expect(await connect("rebind.test", 7000)).toContain("gaierror");
    await m.told({ protocol: "dns", name: "rebind.test", address: "127.0.0.1" });
  });
});

describe.skipIf(!possible)("this host's own addresses", () => {
  const held = [
    "192.0.2.201",
    "192.0.2.210",
    "2001:db8:beef::7",
    "198.51.100.9",
    "2001:db8:cafe::9",
  ] as const;
  const [ofLoopback, ofRoute, , opened] = held;
  const since = [
    "route local 192.0.2.208/28 dev lo",
    "route local 2001:db8:beef::/64 dev lo",
    `addr ${opened}/24 dev ${near}`,
    `addr ${held[4]}/64 dev ${near} nodad`,
  ];
  const why = "the host's own address, which only a rule for it, or hostLoopback, opens";

  test("the host's own addresses are those that it has at the moment", async () => {
    using _before = changeHost(`addr ${ofLoopback}/32 dev lo`);
    const listener = Bun.listen({
      hostname: "::",
      port: 0,
      socket: { data() {}, open: (s) => void s.end("in\n") },
    });
    const { port } = listener;
    try {
      for (const confine of ["auto", "require"] as const) {
        await using m = await machine({ allow: ["*", `${opened}:${port}`] }, "base", "test", confine);
        using _after = changeHost(...since);
        const connect = (host: string, at = port) => m.run(`nc -w 5 ${host} ${at} </dev/null`);
        for (const address of held.filter((one) => one !== opened)) {
          expect(await connect(address)).toMatch(/No route to host|Permission denied/);
          await m.told({ protocol: "tcp", address, port, why });
        }
        expect(await connect(opened)).toBe("in");
        expect(await connect(opened, 9)).toContain("No route to host");
        await m.run(`nslookup a.test ${ofRoute}; ping -c 1 -W 1 ${ofLoopback}`);
        await m.told({ protocol: "udp", address: ofRoute, port: 53, why });
        await m.told({ protocol: "icmp", address: ofLoopback, why });
        for (const host of held) {
          const told = await m.vm.network.explain({ host, protocol: "tcp", port });
          expect(told).toMatchObject({ allowed: host === opened, rule: { own: true } });
        }
        expect(await connect(peer, 7000)).toBe("");
      }
      const place = { host: ofLoopback, protocol: "tcp", port } as const;
      expect(explainNetwork(NetworkMode.UserNat(), place)).toMatchObject({ allowed: false, why });
    } finally {
      listener.stop(true);
    }
  });
});
