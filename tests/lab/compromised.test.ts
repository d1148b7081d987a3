/** From inside a VMM that an intruder has taken over: whatever is tried, on whichever thread, is refused. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { constants, tmpdir } from "node:os";
import { join } from "node:path";
import { buildGuest, type Ran, runMachine, tool } from "./bare.ts";

const root = join(import.meta.dir, "../..");
const inLab = process.env.CAPSA_LAB !== undefined;
const top = mkdtempSync(join(tmpdir(), "capsa-compromised-"));
const share = join(top, "share");
const outside = join(top, "outside");
/** As another sandbox has it. */
const neighbour = join(top, "neighbour");
const { EPERM, EACCES } = constants.errno;

const THREADS = ["vcpu", "main", "fs", "vsock", "rng", "console"] as const;
const DONE = 0;
const NOT_UNDERSTOOD = 9999;

/** What is tried: deeds of tests/lab/intruder.c. VICTIM is a process of this test's, PORT one it listens on. */
const ATTEMPTS = {
  files: {
    "the passwords": "read /etc/shadow",
    "a file outside": `read ${outside}/secret`,
    "root's home": "list /root",
    "the memory of process 1": "write /proc/1/mem",
    "its own memory": "write /proc/self/mem",
    "the files of process 1": "list /proc/1/fd",
    "the system's files": "list /etc",
    "a new file outside": `write ${outside}/planted`,
    "a new file in /tmp": "write /tmp/capsa-intruder",
    "a new file at the top": "write /planted",
    "the share by its name": `read ${share}/file`,
    "another sandbox's directory": `list ${neighbour}`,
    "another sandbox's initramfs": `read ${neighbour}/initrd.cpio`,
    "the passwords by way of ..": "climb /etc/shadow",
    "a file outside by way of ..": `climb ${outside}/secret`,
    "the passwords by a symbolic link": "follow /etc/shadow",
    "a file outside by a symbolic link": `follow ${outside}/secret`,
    "a device node of its own": "device 0x103",
    "the machine's memory": "read /dev/mem",
    "/dev/kvm again": "read /dev/kvm",
    "a terminal": "write /dev/tty",
    "what happens outside": `watch ${outside}`,
    "what happens in /etc": "watch /etc",
  },
  sockets: {
    "a Unix socket outside": `unix ${outside}/socket`,
    "another sandbox's control socket": `unix ${neighbour}/control.sock`,
    "an abstract socket": `abstract capsa-test-${process.pid}`,
    "TCP on this machine": "tcp PORT",
    IPv4: "socket 2",
    IPv6: "socket 10",
    netlink: "socket 16",
    packets: "socket 17",
    "the kernel's crypto": "socket 38",
    vsock: "socket 40",
  },
  signals: {
    kill: "kill VICTIM",
    tgkill: "tgkill VICTIM",
    rt_sigqueueinfo: "sigqueue VICTIM",
    pidfd_send_signal: "pidfd VICTIM",
    "a signal on input": "sigio VICTIM",
    "kill this process": `reach ${process.pid}`,
    "kill process 1": "reach 1",
    "kill all": "reach -1",
    "kill its group": "reach 0",
  },
  processes: {
    fork: "fork -",
    vfork: "clone 0x4111",
    "a process in a new user namespace": "clone 0x10000011",
    "a thread in a new user namespace": "clone 0x10010f00",
    "code in new memory": "code -",
    "code in old memory": "code-later -",
    "another machine": "new-machine -",
    "typing into a terminal": "type x",
  },
  calls: Object.fromEntries(
    [
      "unshare 0x10000000", // CLONE_NEWUSER
      "unshare 0x20000", // CLONE_NEWNS
      "move_pages VICTIM",
      "migrate_pages VICTIM",
      "kcmp 1 VICTIM",
      "pidfd_open VICTIM",
      "pidfd_getfd",
      "process_madvise",
      "sched_setscheduler VICTIM",
      "sched_setaffinity VICTIM",
      "setpriority 0 VICTIM 19",
      "ioprio_set 1 VICTIM",
      "prlimit64 VICTIM 7 1",
      "setrlimit 7",
      "perf_event_open",
      "io_uring_setup 1",
      "userfaultfd",
      "keyctl",
      "add_key",
      "request_key",
      "delete_module",
      "reboot",
      "swapon",
      "swapoff",
      "acct",
      "syslog 3",
      "quotactl",
      "iopl 3",
      "ioperm 0x60 1 1",
      "modify_ldt",
      "personality 0x400000", // READ_IMPLIES_EXEC
      "arch_prctl 0x1012",
      "setuid",
      "setresuid",
      "setgid",
      "setgroups",
      "setfsuid",
      "capset",
      "prctl 4 1", // PR_SET_DUMPABLE
      "prctl 24", // PR_CAPBSET_DROP
      "prctl 47 2", // PR_CAP_AMBIENT
      "sethostname",
      "setdomainname",
      "settimeofday",
      "clock_settime",
      "adjtimex",
      "shmget",
      "shmat",
      "msgget",
      "semget",
      "mq_open",
      "fsopen",
      "fsconfig",
      "fsmount",
      "fspick",
      "open_tree",
      "move_mount",
      "mount_setattr",
      "name_to_handle_at",
      "fanotify_init",
      "pkey_mprotect 0 0 4",
      "remap_file_pages",
      "vmsplice",
      "vhangup",
      "setsid",
      "setpgid",
      "timer_create",
    ].map((call) => [call, `call ${call}`]),
  ),
} as const;

/** At the first of these the kernel ends the process: nothing but an intruder makes them. */
const FATAL = {
  "run a program": "exec /bin/sh",
  "run a program from memory": "exec-memory -",
  "trace the parent": `ptrace ${process.pid}`,
  "read the parent's memory": `read-memory ${process.pid}`,
  "write the parent's memory": `write-memory ${process.pid}`,
  mount: "call mount",
  unmount: "call umount2",
  "change the root": "call pivot_root",
  chroot: "call chroot",
  "enter a namespace": "call setns",
  bpf: "call bpf",
  "load a module": "call init_module",
  "load a module from a file": "call finit_module",
  "start another kernel": "call kexec_load",
  "open a file by its handle": "call open_by_handle_at",
};

let kernel: string;
let port: number;
const listeners: { stop(force?: boolean): void }[] = [];

const sleeper = () => Bun.spawn(["sleep", "1000"]);

/** Orders in, `order -> errno` out. */
async function intrude(orders: readonly string[], confine: "require" | "none"): Promise<Ran> {
  const initrd = join(top, "orders");
  writeFileSync(initrd, `${orders.join("\n")}\n`);
  return runMachine(
    join(root, "build/compromised/capsa-vmm"),
    {
      engine: "kvm",
      kernel,
      initrd,
      fs: [{ tag: "files", roots: [{ name: "0", path: share, readOnly: false }] }],
      vsock: { cid: 3, ports: [52] },
      rng: true,
      console: true,
      confine,
    },
    100_000,
  );
}

afterAll(() => rmSync(top, { recursive: true, force: true }));

function resultsOf(ran: Ran): Map<string, number> {
  const lines = ran.console.split("\n").map((line) => line.split(" -> "));
  return new Map(lines.flatMap(([order, result]) => (result ? [[order!, Number(result)] as const] : [])));
}

describe.skipIf(!inLab)("a VMM taken over", () => {
  let victim: ReturnType<typeof sleeper>;
  let results: Map<string, number>;

  const order = (attempt: string, pid = victim.pid) =>
    attempt.replace("VICTIM", String(pid)).replace("PORT", String(port));

  beforeAll(async () => {
    tool("make", "-s", "-C", join(root, "ffi"), "compromised");
    kernel = buildGuest("intruder", top);
    for (const directory of [share, outside, neighbour]) mkdirSync(directory);
    writeFileSync(join(share, "file"), "shared\n");
    writeFileSync(join(outside, "secret"), "only for the host\n");
    writeFileSync(join(neighbour, "initrd.cpio"), "another's\n");
    const socket = { data: () => {} };
    const tcp = Bun.listen({ hostname: "127.0.0.1", port: 0, socket });
    port = tcp.port;
    listeners.push(
      tcp,
      Bun.listen({ unix: join(outside, "socket"), socket }),
      Bun.listen({ unix: join(neighbour, "control.sock"), socket }),
      Bun.listen({ unix: `\0capsa-test-${process.pid}`, socket }),
    );
    victim = sleeper();
    const attempts = Object.values(ATTEMPTS).flatMap((group) => Object.values(group));
    const orders = THREADS.flatMap((thread) => attempts.map((attempt) => `${thread} ${order(attempt)}`));
    const ran = await intrude(orders, "require");
    expect(ran).toMatchObject({ reason: "shutdown", failure: undefined, exitCode: 0 });
    results = resultsOf(ran);
  }, 600_000);

  afterAll(() => {
    victim?.kill();
    for (const listener of listeners) listener.stop(true);
  });

  for (const [group, attempts] of Object.entries(ATTEMPTS)) {
    // a call that is not on the list is EPERM whatever its arguments; of the others any failure will do
    const isRefused = (errno: number | undefined) =>
      group === "calls" ? errno === EPERM : errno !== undefined && errno !== DONE && errno !== NOT_UNDERSTOOD;
    describe(group, () => {
      for (const [name, attempt] of Object.entries(attempts)) {
        test(name, () => {
          const outcomes = THREADS.map((thread) => ({
            thread,
            errno: results.get(`${thread} ${order(attempt)}`),
          }));
          expect(outcomes.filter(({ errno }) => !isRefused(errno))).toEqual([]);
        });
      }
    });
  }

  test("those it aimed at are as they were", async () => {
    await Bun.sleep(200);
    expect(victim.exitCode).toBeNull();
    expect(victim.signalCode).toBeNull();
    expect(readdirSync(outside).sort()).toEqual(["secret", "socket"]);
    expect(readFileSync(join(outside, "secret"), "utf8")).toBe("only for the host\n");
    expect(readdirSync(share)).toEqual(["file"]);
    expect(existsSync("/tmp/capsa-intruder")).toBe(false);
  });

  test("vCPUs and devices without files have none, not even those of the sandbox", async () => {
    const own = (threads: readonly string[]) =>
      threads.flatMap((thread) => [
        `${thread} list .`,
        `${thread} call socket 1 1 0`,
        `${thread} call memfd_create`,
      ]);
    const ran = await intrude(own(["vcpu", "rng", "console", "main"]), "require");
    const found = resultsOf(ran);
    for (const order of own(["vcpu", "rng", "console"])) {
      expect({ order, errno: found.get(order) }).toEqual({ order, errno: EPERM });
    }
    expect(found.get("main list .")).toBe(EACCES); // by the rules of files: the call itself is let through
    expect(found.get("main call socket 1 1 0")).toBe(DONE);
  });

  describe("at once the process ends that tries to", () => {
    for (const [name, attempt] of Object.entries(FATAL)) {
      test(name, async () => {
        const ran = await intrude([`main ${attempt}`, "main read /etc/shadow"], "require");
        expect(resultsOf(ran).size).toBe(0);
        expect(ran.failure).toMatchObject({ code: "VMM_DIED", message: expect.stringContaining("SIGSYS") });
        expect(ran.reason).toBe("failed");
      }, 60_000);
    }

    test("on any thread", async () => {
      for (const thread of THREADS) {
        const ran = await intrude([`${thread} exec /bin/sh`], "require");
        expect({ thread, ...ran.failure }).toMatchObject({ thread, code: "VMM_DIED" });
      }
    }, 120_000);
  });

  test("without confinement the same deeds succeed: it is confinement that refuses them", async () => {
    const another = sleeper();
    const { files, sockets, signals, processes } = ATTEMPTS;
    const orders = [
      files["the passwords"],
      files["a file outside"],
      files["a new file outside"],
      files["another sandbox's directory"],
      files["the passwords by a symbolic link"],
      sockets["a Unix socket outside"],
      sockets["another sandbox's control socket"],
      sockets["an abstract socket"],
      sockets["TCP on this machine"],
      sockets.netlink,
      processes.fork,
      processes["code in new memory"],
      processes["code in old memory"],
      "call setpriority 0 VICTIM 19",
      "call pidfd_open VICTIM",
      files["what happens outside"],
      signals["kill this process"],
      signals["a signal on input"],
    ].map((attempt) => `main ${order(attempt, another.pid)}`);
    const found = resultsOf(await intrude(orders, "none"));
    expect(orders.map((text) => [text, found.get(text)])).toEqual(orders.map((text) => [text, DONE]));
    expect(existsSync(join(outside, "planted"))).toBe(true);
    expect(await another.exited).toBe(128 + 9);
  }, 60_000);
});
