/**
 * A TCP stream up and down beside QEMU's own user-mode network, with the same engine, kernel and guest. Both end in
 * libslirp and in a server of this process.
 */
import { join } from "node:path";
import { $, type Socket, type TCPSocketListener } from "bun";
import { Capsa, NetworkMode, sandbox } from "../../src/index.ts";
import { baseInitramfs, capsaKernel, microvm, temporary } from "./peer.ts";
import { type Row, row } from "./report.ts";

const mebibytes = 96;
const rounds = 8;
/** Of both guests: where the host's loopback is for them. */
const gateway = "10.0.2.2";
const piece = new Uint8Array(1 << 20);

type Seconds = Record<"up" | "down", number[]>;

export async function net(): Promise<Row[]> {
  using scratch = temporary();
  const program = join(scratch.path, "stream");
  await $`musl-gcc -static -O2 -o ${program} ${import.meta.dir}/stream.c`;
  const [up, down] = [sink(), source()];
  const commands = Array.from({ length: rounds }, () => [
    ["up", gateway, String(up.port), String(mebibytes)],
    ["down", gateway, String(down.port), String(mebibytes)],
  ]).flat();
  let theirs: Seconds;
  let ours: Seconds;
  try {
    theirs = parse(await qemu(scratch.path, program, commands));
    ours = parse(await capsa(program, commands));
  } finally {
    up.stop(true);
    down.stop(true);
  }
  // the fastest round of each: what else the machine does only slows them
  const rate = (way: keyof Seconds) =>
    [mebibytes / Math.min(...ours[way]), mebibytes / Math.min(...theirs[way]), ">= 1.5"] as const;
  return [
    row("network, TCP from the guest, best", "MiB/s", ...rate("up")),
    row("network, TCP to the guest, best", "MiB/s", ...rate("down")),
  ];
}

async function capsa(program: string, commands: readonly string[][]): Promise<string> {
  await using vm = await Capsa.sandbox()
    .network(NetworkMode.UserNat({ hostLoopback: true }))
    .run("/bin/sleep", ["infinity"])
    .build();
  await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  await agent.writeFile("/stream", Bun.file(program), { mode: 0o755 });
  let output = "";
  for (const command of commands) {
    const { ok, stdout, stderr } = await agent.exec(["/stream", ...command], { timeoutMs: 120_000 });
    if (!ok) throw new Error(`the stream failed in capsa: ${stderr}`);
    output += stdout;
  }
  return output;
}

async function qemu(scratch: string, program: string, commands: readonly string[][]): Promise<string> {
  const set = `ip addr add 10.0.2.15/24 dev eth0 && ip link set eth0 up && ip route add default via ${gateway}`;
  const streams = commands.map((command) => `/stream ${command.join(" ")}`);
  const initrd = await baseInitramfs(scratch, program, [set, ...streams].join("\n"));
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
  const seconds: Seconds = { up: [], down: [] };
  for (const [, way, value] of output.matchAll(/^(up|down) ([\d.]+)\r?$/gm))
    seconds[way as keyof Seconds].push(Number(value));
  if (seconds.up.length !== rounds || seconds.down.length !== rounds)
    throw new Error(`the streams did not finish:\n${output}`);
  return seconds;
}

/** A server that takes everything, and ends when the other side does. */
function sink(): TCPSocketListener<{ left: number }> {
  return listen({ data() {}, end: (socket) => void socket.end() });
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
