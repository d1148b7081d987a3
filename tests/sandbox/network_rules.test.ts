/** What the network of a sandbox lets through: rules by name and address, rules that change, limits, and what is told. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { readNetworkLog } from "../../src/index.ts";
import { capsa, scratch } from "../unit/cli/capsa.ts";
import {
  type Machine,
  machine,
  other,
  peer,
  peer6,
  peerConnections,
  until,
  usePeers,
} from "./network_machines.ts";

const possible = usePeers();

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
    expect(await connect("10.0.2.3", 53)).toBe("connected");
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
    expect(stdout).toMatch(
      /^deny {3}this machine's own addresses \(.*\ndeny {3}169\.254\.0\.0\/16 \(a link-local address/,
    );
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
    const { refused, ...now } = await m.vm.network.counters();
    expect(now).toMatchObject({ connections: 2, maxConnections: 2 });
    expect(refused).toBeGreaterThan(0);
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
      /^received \d+ packets \(\d+ bytes\), sent .*, of which \d+ were refused; \d of at most 2 connections$/m,
    );
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
