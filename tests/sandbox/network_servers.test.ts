/** The host's network, to servers as they are in the world. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { type Machine, machine } from "./network_machines.ts";
import { many, missing, nowhere, server, size, useServers } from "./network_servers.ts";

const why = missing();
if (why !== undefined) test.skip(`network servers: ${why}`, () => {});

describe.skipIf(why !== undefined)("through a router", () => {
  const servers = why === undefined ? useServers() : undefined!;
  let m: Machine;
  beforeAll(async () => {
    m = await machine({ nameServers: [server] }, "host", "host");
    await m.agent.writeFile("/tmp/cert.pem", await servers.certificate());
    await m.agent.writeFile(
      "/tmp/tls.py",
      `import hashlib, http.client, ssl
server = http.client.HTTPSConnection("server.test", 443, timeout=60, context=ssl.create_default_context(cafile="/tmp/cert.pem"))
`,
    );
  });
  afterAll(() => m?.[Symbol.asyncDispose]());
  const python = (script: string) => m.python(`import sys; sys.path.append("/tmp")\n${script}`);

  test("a download from nginx by TLS is what nginx has", async () => {
    const digest = await python(`from tls import *
server.request("GET", "/file"); r = server.getresponse(); h = hashlib.sha256(); n = 0
while b := r.read(1 << 18): h.update(b); n += len(b)
print(n, h.hexdigest())`);
    expect(digest).toBe(`${size} ${servers.sha256()}`);
  });

  test("an upload finds the size of packets that passes, and its sequence numbers come round", async () => {
    // the connection's first number is 1 MiB below 2^32: TCP_REPAIR sets it, TCP_QUEUE_SEQ tells where it has got to
    const said = await python(`from tls import *
REPAIR, QUEUE, SEQUENCE = 19, 20, 21
raw = socket(AF_INET, SOCK_STREAM); raw.settimeout(60)
def repair(on): raw.setsockopt(IPPROTO_TCP, REPAIR, on); on and raw.setsockopt(IPPROTO_TCP, QUEUE, 2)
repair(1); raw.setsockopt(IPPROTO_TCP, SEQUENCE, -(1 << 20)); repair(0)
raw.connect(("server.test", 443)); first = raw.fileno()
s = ssl.create_default_context(cafile="/tmp/cert.pem").wrap_socket(raw, server_hostname="server.test")
b = bytes((i * 7 + i // 256) & 255 for i in range(65536)); h = hashlib.sha256(); n = ${Math.max(size, 4 << 20)} // len(b)
s.sendall(f"PUT /put/a HTTP/1.1\\r\\nHost: server.test\\r\\nContent-Length: {n * len(b)}\\r\\n\\r\\n".encode())
for _ in range(n): s.sendall(b); h.update(b)
status = s.recv(99).split(b"\\r\\n")[0].decode()
s.setsockopt(IPPROTO_TCP, REPAIR, 1); s.setsockopt(IPPROTO_TCP, QUEUE, 2)
print(status, 0 < s.getsockopt(IPPROTO_TCP, SEQUENCE) < 1 << 30, h.hexdigest())`);
    expect(said).toBe(`HTTP/1.1 201 Created True ${servers.uploaded("a")}`);
  });

  test("iperf3 runs both ways", async () => {
    for (const way of ["", "--reverse"]) {
      const report = await m.run(`cd /tmp && iperf3 --client ${server} --bytes 8M --json ${way}`);
      const { end } = JSON.parse(report);
      expect(end.sum_sent.bytes).toBeGreaterThanOrEqual(8 << 20);
      expect(end.sum_received.bytes).toBeGreaterThan(4 << 20); // the client may end before the last is counted
    }
  });

  test("what cannot be reached is told at once", async () => {
    const tried = (kind: string, address: string, act: string) =>
      m.python(`s = socket(AF_INET, ${kind}); s.settimeout(60)
try: s.connect(("${address}", 9)); ${act}
except OSError as e: print(e.strerror)`);
    expect(await tried("SOCK_STREAM", server, "")).toBe("Connection refused");
    expect(await tried("SOCK_DGRAM", server, 's.send(b"x"); s.recv(9)')).toBe("Connection refused");
    expect(await tried("SOCK_STREAM", nowhere, "")).toBe("Connection refused");
  });

  test("who looks for the way by datagrams finds the gateway, the router and the server", async () => {
    const way =
      await m.python(`s = socket(AF_INET, SOCK_DGRAM); s.setsockopt(IPPROTO_IP, 11, 1); s.settimeout(10)
import select
for hops in 1, 2, 3:
    s.setsockopt(IPPROTO_IP, IP_TTL, hops); s.sendto(b"x", ("${server}", 33434 + hops))
    select.select([s], [], [], 10)
    data, control, _, to = s.recvmsg(99, 512, MSG_ERRQUEUE)
    print(inet_ntoa(control[0][2][20:24]), to[1] - 33434, end=" ")`);
    expect(way).toBe(`10.0.2.2 1 203.0.113.2 2 ${server} 3`);
  });

  test("dnsmasq is asked; an answer of many addresses is whole", async () => {
    expect(await m.python('print(gethostbyname("server.test"))')).toBe(server);
    expect(await m.python('gethostbyname("none.test")')).toContain("Name or service not known");
    const found = await m.python(
      'print(*sorted(a[4][0] for a in getaddrinfo("many.test", 1, AF_INET, SOCK_STREAM)))',
    );
    expect(found.split(" ")).toEqual([...many].sort());
  });
});
