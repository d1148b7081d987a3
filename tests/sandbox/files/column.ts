/** Where a tool may be at work: a directory, who works in it, and how this machine sees what was done. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Capsa, CapsaError, MountMode, sandbox } from "../../../src/index.ts";
import { toolchain } from "./table.ts";

export const NOBODY = 65534;
/** `make soak` does all of it, and more of each. */
export const soaking = process.env.CAPSA_SOAK === "1";

/** The shares, who works in each, and who is first to do so. */
const SHARES = {
  rw: { mode: MountMode.ReadWrite, cache: "auto", users: [0, NOBODY], first: 0 },
  always: { mode: MountMode.ReadWrite, cache: "always", users: [0], first: 0 },
  transaction: { mode: MountMode.Transaction, cache: "auto", users: [0, NOBODY], first: NOBODY },
} as const;

export interface Ran {
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Column {
  readonly name: string;
  readonly mode: "disk" | keyof typeof SHARES;
  /** Runs also what is run once for each kind of place in `make test`. */
  readonly first: boolean;
  /** On this machine; all users may write there. */
  readonly host: string;
  /** Run by `sh -eu` in `directory` below the column's own, with $TOOLS. */
  run(script: string, directory: string): Promise<Ran>;
  /** Take over what was done in `directory`; with what was refused. */
  apply?(directory: string): Promise<readonly string[]>;
}

export interface Columns extends AsyncDisposable {
  readonly all: readonly Column[];
  /** The programs, where all users of this machine may read them. */
  readonly tools: string;
}

/** One sandbox with all shares, and directories of this machine's to compare. */
export async function startColumns(): Promise<Columns> {
  const top = mkdtempSync(join(tmpdir(), "capsa-tools-"));
  chmodSync(top, 0o755);
  const tools = join(top, "tools");
  cpSync(join(import.meta.dirname, "tools"), tools, { recursive: true });
  let machine = Capsa.sandbox()
    .memoryMb(1024)
    .cpus(2)
    .rootfs("host")
    .share(tools, "/tools", MountMode.ReadOnly);
  for (const [share, { mode, cache }] of Object.entries(SHARES)) {
    mkdirSync(join(top, share));
    machine = machine.share(join(top, share), `/${share}`, { mode, cache });
  }
  if (toolchain) machine = machine.share(toolchain, "/toolchain", MountMode.ReadOnly);
  const vm = await machine.run("/bin/sleep", ["infinity"]).build();
  const agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));

  const ofUser = (mode: Column["mode"], user: number) => {
    const host = join(top, mode, String(user));
    mkdirSync(host, { recursive: true });
    chmodSync(host, 0o777);
    return { name: `${mode}, ${user === 0 ? "root" : "user"}`, mode, host };
  };
  const me = process.getuid!();
  const disks = (me === 0 ? [0, NOBODY] : [me]).map((user): Column => {
    const column = ofUser("disk", user);
    const run = (script: string, directory: string) =>
      onDisk(script, join(column.host, directory), tools, user);
    return { ...column, first: user === me, run };
  });
  const shares = (Object.keys(SHARES) as (keyof typeof SHARES)[]).flatMap((share) =>
    SHARES[share].users.map((user): Column => {
      const inGuest = (directory: string) => `/${share}/${user}/${directory}`;
      return {
        ...ofUser(share, user),
        first: user === SHARES[share].first,
        run: (script, directory) =>
          agent.exec(["sh", "-euc", script], {
            cwd: inGuest(directory),
            user,
            group: user,
            env: { TOOLS: "/tools", HOME: `/tmp/home${user}`, LC_ALL: "C.UTF-8" },
          }),
        ...(share === "transaction" && {
          apply: async (directory) => {
            const { refused } = await vm.apply([inGuest(directory)]).catch(nothing({ refused: [] }));
            return refused.map(({ path, conflict }) => `${path}: ${conflict}`);
          },
        }),
      };
    }),
  );
  return {
    all: [...disks, ...shares],
    tools,
    async [Symbol.asyncDispose]() {
      await agent.close();
      await vm.kill();
      rmSync(top, { recursive: true, force: true });
    },
  };
}

/** What a call gives where there is nothing to apply or to discard, which is an error for it. */
export function nothing<T>(value: T): (error: unknown) => T {
  return (error) => {
    if (error instanceof CapsaError && error.code === "NO_SUCH_CHANGE") return value;
    throw error;
  };
}

/** As in a sandbox, without one. */
export async function onDisk(script: string, cwd: string, tools: string, user: number): Promise<Ran> {
  const as = ["setpriv", `--reuid=${user}`, `--regid=${user}`, "--clear-groups"];
  const child = Bun.spawn([...(user === process.getuid!() ? [] : as), "sh", "-euc", script], {
    cwd,
    env: {
      PATH: `${toolchain ?? ""}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`,
      TOOLS: tools,
      HOME: cwd,
      LC_ALL: "C.UTF-8",
    },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [exitCode, stdout, stderr] = await Promise.all([
    child.exited,
    child.stdout.text(),
    child.stderr.text(),
  ]);
  return { exitCode, stdout, stderr };
}
