/**
 * Files of size and short programs through the agent, beside ssh and scp to OpenSSH's server in the same guest, reached by
 * a published port.
 */
import { join } from "node:path";
import { $ } from "bun";
import { type Agent, Capsa, MountMode, NetworkMode, sandbox } from "../../src/index.ts";
import { timed } from "./clock.ts";
import { temporary } from "./peer.ts";
import { type Row, row } from "./report.ts";
import { median } from "./statistics.ts";

const mebibytes = 1024;
const rounds = 1; // scp takes minutes, and a figure that far from its goal needs no more
const execRounds = 10;
const server = "/opt/sshd";

export async function transfer(): Promise<Row[]> {
  using scratch = temporary();
  await using vm = await Capsa.sandbox()
    .cpus(1)
    .memoryMb(3072)
    .rootfs("host")
    .network(NetworkMode.UserNat({ publish: ["0:22"] }))
    .share((await $`${import.meta.dir}/sshd.sh`.text()).trim(), server, MountMode.ReadOnly)
    .run("/bin/sleep", ["infinity"])
    .build();
  await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  const ssh = await startSshd(agent, scratch.path, vm.ports[0]!.port);

  const file = join(scratch.path, "file");
  await $`head -c ${mebibytes}M /dev/urandom > ${file}`;
  await agent.exec("mkdir /mem && mount -t tmpfs -o size=2500m tmpfs /mem");
  const samples: Record<string, number[]> = { up: [], down: [], scpUp: [], scpDown: [] };
  const measure = async (name: string, action: () => Promise<unknown>) =>
    samples[name]!.push(await timed(action));
  const back = join(scratch.path, "back");
  for (let round = 0; round < rounds; round++) {
    await measure("up", () => agent.upload(file, "/mem/file"));
    await measure("down", () => agent.download("/mem/file", back));
    await same(file, back);
    await measure("scpUp", () => ssh.scp(file, "host:/mem/file"));
    await measure("scpDown", () => ssh.scp("host:/mem/file", back));
    await same(file, back);
  }
  const exec: Record<"ours" | "fresh" | "open", number[]> = { ours: [], fresh: [], open: [] };
  await using open = await ssh.open();
  for (let round = 0; round < execRounds; round++) {
    exec.ours.push(await timed(() => agent.exec(["/bin/true"])));
    exec.fresh.push(await timed(() => ssh.run("/bin/true")));
    exec.open.push(await timed(() => open.run("/bin/true")));
  }
  const rate = (ours: string, peer: string) =>
    [mebibytes / (median(samples[ours]!) / 1000), mebibytes / (median(samples[peer]!) / 1000)] as const;
  return [
    row("1 GiB to the guest, beside scp", "MiB/s", ...rate("up", "scpUp"), ">= 1.5"),
    row("1 GiB from the guest, beside scp", "MiB/s", ...rate("down", "scpDown"), ">= 1.5"),
    row("exec true, beside ssh", "ms", median(exec.ours), median(exec.fresh), "<= 0.2"),
    row("exec true, beside ssh over an open connection", "ms", median(exec.ours), median(exec.open)),
  ];
}

/** Start the server in the guest with a key made for it; what is returned talks to it. */
async function startSshd(agent: Agent, directory: string, port: number) {
  const key = join(directory, "key");
  await $`ssh-keygen -q -t ed25519 -N "" -f ${key}`;
  await agent.writeFile("/etc/sshd/authorized", Bun.file(`${key}.pub`), { parents: true });
  await agent.writeFile("/etc/sshd/key", Bun.file(key), { mode: 0o600 });
  const options = ["AuthorizedKeysFile=/etc/sshd/authorized", "HostKey=/etc/sshd/key", "StrictModes=no"];
  const more = ["UsePAM=no", `Subsystem=sftp ${server}/usr/lib/openssh/sftp-server`];
  const { ok, stderr } = await agent.exec(
    [
      "sh",
      "-ec",
      `mkdir -p /run/sshd /usr/local/lib
       echo 'sshd:x:100:65534::/run/sshd:/usr/sbin/nologin' >> /etc/passwd
       : > /etc/sshd/config
       exec ${server}/usr/sbin/sshd -f /etc/sshd/config "$@"`,
      "sshd",
      ...[...options, ...more].flatMap((option) => ["-o", option]),
    ],
    { env: { LD_LIBRARY_PATH: `${server}/usr/lib/x86_64-linux-gnu` } },
  );
  if (!ok) throw new Error(`sshd does not start in the guest: ${stderr}`);
  const config = join(directory, "config");
  const control = join(directory, "control");
  await Bun.write(
    config,
    `Host host\n HostName 127.0.0.1\n Port ${port}\n User root\n IdentityFile ${key}\n StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n`,
  );
  return {
    scp: (from: string, to: string) => $`scp -q -F ${config} ${from} ${to}`.quiet(),
    run: (command: string) => $`ssh -F ${config} host ${command}`.quiet(),
    /** A connection that stays until it is disposed of. */
    async open() {
      const over = ["-F", config, "-S", control];
      await $`ssh ${over} -M -o ControlPersist=600 host true`.quiet();
      return {
        run: (command: string) => $`ssh ${over} host ${command}`.quiet(),
        [Symbol.asyncDispose]: async () => void (await $`ssh ${over} -O exit host`.quiet()),
      };
    },
  };
}

async function same(one: string, other: string): Promise<void> {
  await $`cmp ${one} ${other}`.quiet();
}
