/**
 * A day of short connections through one sandbox's network, a tenth of them to a peer that never ends its side: when they
 * are over, the VMM has as many descriptors as before, about the memory of after the first thousand, and counts none.
 */
import { readdirSync, readFileSync } from "node:fs";
import { Capsa, NetworkMode, sandbox } from "../../src/index.ts";

/** Of a second: Linux itself keeps a tenth of those of a minute, and the sandbox may have 4096. */
const RATE = 400;
/** How long the peer keeps its side, beyond what any sandbox may take to end the other. */
const KEPT_MS = 150_000;

const client = `
import socket, sys, time
port, count = int(sys.argv[1]), int(sys.argv[2])
for n in range(count):
    due = time.monotonic() + 100 / ${RATE} if n % 100 == 0 else due
    with socket.create_connection(("10.0.2.2", port), 30) as s:
        s.sendall(b"k" if n % 10 == 0 else b"e")
        if n % 10: assert s.recv(1) == b""
    if n % 100 == 99: time.sleep(max(0, due - time.monotonic()))
`;

export async function connections(count: number): Promise<void> {
  using server = peer();
  await using vm = await Capsa.sandbox()
    .rootfs("host")
    .network(NetworkMode.UserNat({ hostLoopback: true, allow: ["10.0.2.2"] }))
    .run("/bin/sleep", ["infinity"])
    .build();
  await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  const connect = async (times: number) => {
    const { ok, stderr } = await agent.exec(["python3", "-c", client, String(server.port), String(times)]);
    if (!ok) throw new Error(`the guest could not connect ${times} times: ${stderr}`);
    while ((await vm.network.counters()).connections > 0) await Bun.sleep(1000);
    return held(vm.pid);
  };
  const before = await connect(1000);
  const after = await connect(count);
  const { refused } = await vm.network.counters();
  console.log(`${count} connections: ${JSON.stringify({ before, after, refused })}`);
  if (after.descriptors > before.descriptors || after.memory > before.memory + (8 << 20) || refused > 0)
    throw new Error("not all of the connections are gone");
}

/** What a process and its children hold, without QEMU, which keeps what code it has translated. */
function held(pid: number): { descriptors: number; memory: number } {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  if (/^Name:\s+qemu/m.test(status)) return { descriptors: 0, memory: 0 };
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1").split(" ").filter(Boolean);
  const own = {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    memory: Number(/^RssAnon:\s+(\d+)/m.exec(status)![1]) * 1024,
  };
  return children
    .map((child) => held(Number(child)))
    .reduce(
      (all, one) => ({ descriptors: all.descriptors + one.descriptors, memory: all.memory + one.memory }),
      own,
    );
}

function peer() {
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    allowHalfOpen: true,
    socket: {
      end() {}, // without it Bun ends its side as well
      data(socket, bytes) {
        if (bytes[0] === "k".charCodeAt(0)) setTimeout(() => socket.terminate(), KEPT_MS).unref();
        else socket.end();
      },
    },
  });
  return { port: server.port, [Symbol.dispose]: () => server.stop(true) };
}
