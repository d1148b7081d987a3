/**
 * The network beside QEMU's own user-mode one, with the same engine, kernel and guest: a TCP stream up and down,
 * connections, DNS queries. Both end in libslirp and in servers of this process.
 */
import { basename, join } from "node:path";
import { $, type Socket, type TCPSocketListener } from "bun";
import { Capsa, NetworkMode, sandbox } from "../../src/index.ts";
import { baseInitramfs, capsaKernel, microvm, temporary } from "./peer.ts";
import { type Row, row } from "./report.ts";

const mebibytes = 96;
const trips = 300;
const rounds = 8;
/** Of both guests: where the host's loopback is for them. */
const gateway = "10.0.2.2";
/** Of capsa's: its own, which asks `dns` below. That of QEMU passes packets on as the gateway does, to a server of the
 * host's that nobody can choose, so QEMU's guest asks by way of the gateway. */
const nameServer = "10.0.2.3";
const piece = new Uint8Array(1 << 20);

const WHAT = ["up", "down", "connect", "query"] as const;
type Seconds = Record<(typeof WHAT)[number], number[]>;

export async function net(): Promise<Row[]> {
  using scratch = temporary();
  const programs = ["stream", "round_trips"].map((name) => join(scratch.path, name));
  for (const program of programs)
    await $`musl-gcc -static -O2 -o ${program} ${import.meta.dir}/${basename(program)}.c`;
  const [up, down, brief] = [sink(), source(), endings()];
  const names = await dns();
  const commands = (asked: string) =>
    Array.from({ length: rounds }, () => [
      ["/stream", "up", gateway, String(up.port), String(mebibytes)],
      ["/stream", "down", gateway, String(down.port), String(mebibytes)],
      ["/round_trips", "connect", gateway, String(brief.port), String(trips)],
      ["/round_trips", "query", asked, "53", String(trips)],
    ]).flat();
  let theirs: Seconds;
  let ours: Seconds;
  try {
    theirs = parse(await qemu(scratch.path, programs, commands(gateway)));
    ours = parse(await capsa(programs, commands(nameServer)));
  } finally {
    for (const server of [up, down, brief]) server.stop(true);
    names.close();
  }
  // the fastest round of each: what else the machine does only slows them
  const best = (what: keyof Seconds) => [Math.min(...ours[what]), Math.min(...theirs[what])] as const;
  const rate = (amount: number, what: keyof Seconds) => {
    const [our, their] = best(what);
    return [amount / our, amount / their] as const;
  };
  const each = (what: keyof Seconds) => {
    const [our, their] = best(what);
    return [(our / trips) * 1e6, (their / trips) * 1e6] as const;
  };
  return [
    row("network, TCP from the guest, best", "MiB/s", ...rate(mebibytes, "up"), ">= 1.5"),
    row("network, TCP to the guest, best", "MiB/s", ...rate(mebibytes, "down"), ">= 1.5"),
    row("network, TCP connections, best", "1/s", ...rate(trips, "connect")),
    row("network, DNS query and answer, best", "µs", ...each("query")),
  ];
}

async function capsa(programs: readonly string[], commands: readonly string[][]): Promise<string> {
  await using vm = await Capsa.sandbox()
    // with a rule for the name: others are asked for at a limited rate
    .network(
      NetworkMode.UserNat({ hostLoopback: true, allow: [gateway, "bench.test"], nameServers: ["127.0.0.1"] }),
    )
    .run("/bin/sleep", ["infinity"])
    .build();
  await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  for (const program of programs)
    await agent.writeFile(`/${basename(program)}`, Bun.file(program), { mode: 0o755 });
  let output = "";
  for (const command of commands) {
    const { ok, stdout, stderr } = await agent.exec(command, { timeoutMs: 120_000 });
    if (!ok) throw new Error(`${command.join(" ")} failed in capsa: ${stderr}`);
    output += stdout;
  }
  return output;
}

async function qemu(
  scratch: string,
  programs: readonly string[],
  commands: readonly string[][],
): Promise<string> {
  const set = `ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up && ip route add default via ${gateway}`;
  const script = [set, ...commands.map((command) => command.join(" "))].join("\n");
  const initrd = await baseInitramfs(scratch, programs, script);
  return await microvm(await capsaKernel(), initrd, {
    memory: "512M",
    limit: 300,
    // the processor and the transport that capsa's engine takes
    extra: [
      ...["-cpu", "max,-erms", "-machine", "acpi=off", "-global", "virtio-mmio.force-legacy=false"],
      ...["-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n"],
    ],
  });
}

function parse(output: string): Seconds {
  const seconds: Seconds = { up: [], down: [], connect: [], query: [] };
  for (const [, what, value] of output.matchAll(/^(up|down|connect|query) ([\d.]+)\r?$/gm))
    seconds[what as keyof Seconds].push(Number(value));
  if (WHAT.some((what) => seconds[what].length !== rounds))
    throw new Error(`not everything was measured:\n${output}`);
  return seconds;
}

/** A server that takes everything, and ends when the other side does. */
function sink(): TCPSocketListener<{ left: number }> {
  return listen({ data() {}, end: (socket) => void socket.end() });
}

/** A server that ends each connection at once. */
function endings(): TCPSocketListener<{ left: number }> {
  return listen({ data() {}, open: (socket) => void socket.end() });
}

/** A name server at the port that name servers have: every name has the same address. */
async function dns() {
  const answerTo = (query: Buffer) => {
    const record = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 1]); // RFC 1035 section 4.1.3
    const answer = Buffer.concat([query, record]);
    answer.writeUInt16BE(0x8180, 2); // an answer, recursion available
    answer.writeUInt16BE(1, 6); // of one record
    return answer;
  };
  return Bun.udpSocket({
    hostname: "127.0.0.1",
    port: 53,
    socket: { data: (socket, query, port, address) => void socket.send(answerTo(query), port, address) },
  }).catch((cause) => {
    throw new Error("the network benchmark needs port 53/udp of 127.0.0.1, as root and with nobody there", {
      cause,
    });
  });
}

/** A server that sends as much as is asked for below. */
function source(): TCPSocketListener<{ left: number }> {
  const pump = (socket: Socket<{ left: number }>) => {
    while (socket.data.left > 0) {
      const most = Math.min(piece.length, socket.data.left);
      const sent = socket.write(piece.subarray(0, most));
      socket.data.left -= sent;
      if (sent < most) return;
    }
    socket.end();
  };
  const open = (socket: Socket<{ left: number }>) => {
    socket.data = { left: mebibytes << 20 };
    pump(socket);
  };
  return listen({ data() {}, end() {}, open, drain: pump });
}

function listen(socket: Bun.SocketHandler<{ left: number }>): TCPSocketListener<{ left: number }> {
  return Bun.listen<{ left: number }>({ hostname: "127.0.0.1", port: 0, allowHalfOpen: true, socket });
}
