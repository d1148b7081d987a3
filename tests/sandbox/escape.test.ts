/** Ways out of a share that a hostile guest, or a host that changes files meanwhile, might find: none leads anywhere. */
import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";

const secret = "only for the host\n";
let base: string;
/** Shared read-write as /share. */
let share: string;
/** Shared read-only as /ro. */
let readOnly: string;
/** Of what is in it, `rw` is shared as /made/up/rw and `ro` as /etc/ro, each by itself. */
let beside: string;
/** Beside the shares, not shared. */
let outside: string;
let vm: RunningSandbox;
let agent: Agent;

beforeAll(async () => {
  base = realpathSync(mkdtempSync(join(tmpdir(), "capsa-escape-")));
  share = join(base, "share");
  readOnly = join(base, "ro");
  beside = join(base, "beside");
  outside = join(base, "outside");
  for (const directory of [share, readOnly, beside, outside]) mkdirSync(directory);
  for (const name of ["rw", "ro", "secret"])
    writeFileSync(join(beside, name), name === "secret" ? secret : `${name}\n`);
  vm = await Capsa.sandbox()
    .memoryMb(256)
    .share(share, "/share", MountMode.ReadWrite)
    .share(readOnly, "/ro", MountMode.ReadOnly)
    .share(join(beside, "rw"), "/made/up/rw", MountMode.ReadWrite)
    .share(join(beside, "ro"), "/etc/ro", MountMode.ReadOnly)
    .run("/bin/sleep", ["infinity"])
    .build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
});

beforeEach(() => {
  for (const directory of [share, readOnly, outside]) {
    for (const name of readdirSync(directory))
      rmSync(join(directory, name), { recursive: true, force: true });
  }
  writeFileSync(join(outside, "secret"), secret);
  writeFileSync(join(readOnly, "file"), "as it was\n");
});

afterAll(async () => {
  await vm?.kill();
  rmSync(base, { recursive: true, force: true });
});

/** Run a script in the guest; what it printed on both outputs, and that it did not see the secret. */
async function guest(script: string): Promise<string> {
  const result = await agent.exec(script);
  const output = result.stdout + result.stderr;
  expect(output).not.toContain(secret.trim());
  return output;
}

function untouched(): void {
  expect(readdirSync(outside)).toEqual(["secret"]);
  expect(readFileSync(join(outside, "secret"), "utf8")).toBe(secret);
}

test("absolute symlinks made on the host resolve inside the guest", async () => {
  symlinkSync(outside, join(share, "directory"));
  symlinkSync(join(outside, "secret"), join(share, "file"));
  symlinkSync("/etc/hostname", join(share, "hostname"));
  await guest("cat /share/directory/secret /share/file; ls /share/directory; echo x >/share/directory/new");
  expect((await guest("cat /share/hostname 2>/dev/null || hostname")).trim()).not.toBe(
    existsSync("/etc/hostname") ? readFileSync("/etc/hostname", "utf8").trim() : "",
  );
  expect((await guest("echo changed >/share/file; echo $?")).length).toBeGreaterThan(0);
  untouched();
});

test("relative symlinks that climb out end at the guest's own root", async () => {
  symlinkSync("../outside/secret", join(share, "climb"));
  symlinkSync(`${"../".repeat(40)}${outside.slice(1)}/secret`, join(share, "far"));
  await guest("cat /share/climb; cat /share/far; echo x >>/share/climb; echo x >>/share/far");
  await guest("ln -s ../outside /share/own && cat /share/own/secret; ls /share/own/");
  untouched();
});

test("links through /proc/self/root and /proc/self/cwd lead into the guest", async () => {
  symlinkSync(`/proc/self/root${outside}/secret`, join(share, "root"));
  symlinkSync(`/proc/1/root${outside}/secret`, join(share, "one"));
  symlinkSync("/proc/self/cwd/../outside/secret", join(share, "cwd"));
  await guest("cd /share; cat root one cwd; echo x >root; echo x >one");
  untouched();
});

test("dot-dot from the share's root is the guest's root", async () => {
  await guest("cat /share/../outside/secret; cd /share; cat ../outside/secret; ls ..");
  expect(await guest("stat -c %i /share/..")).toBe(await guest("stat -c %i /"));
  await guest("cd /share && mkdir -p a/b && cd a/b && cat ../../../outside/secret; echo x >../../../escaped");
  expect(existsSync(join(base, "escaped"))).toBe(false);
  untouched();
});

test("a directory moved out of the share on the host takes nobody with it", async () => {
  mkdirSync(join(share, "deep/er"), { recursive: true });
  const child = await agent.spawn(
    "cd /share/deep/er && echo in && read -r _ && cat ../../secret ../secret ../../../outside/secret; ls ../..",
    { stdin: "pipe" },
  );
  const reader = child.stdout.getReader();
  await reader.read();
  renameSync(join(share, "deep"), join(outside, "deep"));
  const writer = child.stdin!.getWriter();
  await writer.write(new TextEncoder().encode("go\n"));
  await writer.close();
  let output = await new Response(child.stderr).text();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    output += new TextDecoder().decode(value);
  }
  await child.exited;
  expect(output).not.toContain(secret.trim());
  rmSync(join(outside, "deep"), { recursive: true });
  untouched();
});

test("hard links do not cross from one share to another, nor from the guest", async () => {
  expect(await guest("ln /ro/file /share/linked; ln /share/own /ro/linked; ln /init /share/init")).not.toBe(
    "",
  );
  expect(readdirSync(share)).toEqual([]);
  await guest("echo mine >/share/first && ln /share/first /share/second && echo more >>/share/second");
  expect(readFileSync(join(share, "first"), "utf8")).toBe("mine\nmore\n");
  linkSync(join(readOnly, "file"), join(readOnly, "second"));
  await guest("echo x >>/ro/second");
  expect(readFileSync(join(readOnly, "file"), "utf8")).toBe("as it was\n");
  untouched();
});

test("a directory that turns into a symlink during lookups leads nowhere", async () => {
  mkdirSync(join(share, "real"));
  writeFileSync(join(share, "real/secret"), "harmless\n");
  symlinkSync(outside, join(share, "link"));
  renameSync(join(share, "real"), join(share, "swap"));
  const running = agent.exec(
    `end=$(($(date +%s) + 6)); while [ $(date +%s) -lt $end ]; do
       cat /share/swap/secret; echo x >/share/swap/planted; mv /share/swap/planted /share/swap/moved; rm -f /share/swap/moved
     done 2>/dev/null`,
  );
  let over = false;
  const done = running.finally(() => {
    over = true;
  });
  let swaps = 0;
  while (!over) {
    try {
      renameSync(join(share, "swap"), join(share, "real"));
      renameSync(join(share, "link"), join(share, "swap"));
      renameSync(join(share, "swap"), join(share, "link"));
      renameSync(join(share, "real"), join(share, "swap"));
      swaps++;
    } catch {
      // the guest may hold a name for a moment
    }
    if (swaps % 20 === 0) await Bun.sleep(1);
  }
  const { stdout } = await done;
  expect(swaps).toBeGreaterThan(100);
  expect(stdout).not.toContain(secret.trim());
  untouched();
}, 60_000);

test("mounting over the share in the guest changes nothing on the host", async () => {
  await guest(`mkdir -p /tmp/over && echo guest >/tmp/over/planted
    mkdir -p /share/sub && mount --bind /tmp/over /share/sub && echo x >/share/sub/more
    mount --bind /tmp/over /share && echo y >/share/top; umount /share; umount /share/sub`);
  expect(readdirSync(share)).toEqual(["sub"]);
  expect(readdirSync(join(share, "sub"))).toEqual([]);
});

test("a read-only share stays so, whatever the guest remounts", async () => {
  await guest(`mount -o remount,rw /ro; mount -o remount,rw,bind /ro
    cd /ro; echo x >file; echo x >>file; : >new; mkdir made; rm file; mv file moved; ln file linked; ln -s file soft
    chmod 000 file; touch -d 2001-01-01 file; truncate -s 0 file; mkfifo pipe; chown 1:1 file; rmdir .`);
  expect(readdirSync(readOnly)).toEqual(["file"]);
  expect(readFileSync(join(readOnly, "file"), "utf8")).toBe("as it was\n");
  expect(lstatSync(join(readOnly, "file")).mode & 0o777).toBe(0o644);
  // a mount of the guest's own, straight from the device
  await guest(`mkdir -p /tmp/own; tag=$(sed -n 's/^\\([^ ]*\\) .* virtiofs .*/\\1/p' /proc/mounts | head -n 1)
    mount -t virtiofs "$tag" /tmp/own && for d in /tmp/own /tmp/own/*; do echo x >$d/file; : >$d/direct; done; umount /tmp/own`);
  expect(readFileSync(join(readOnly, "file"), "utf8")).toBe("as it was\n");
  expect(readdirSync(readOnly)).toEqual(["file"]);
  untouched();
});

test("device nodes cannot be made in a share, and cannot be used from one", async () => {
  expect(await guest("mknod /share/null c 1 3; mknod /share/disk b 8 0; mknod /share/kmsg c 1 11")).not.toBe(
    "",
  );
  expect(readdirSync(share)).toEqual([]);
  if (process.getuid?.() === 0) {
    Bun.spawnSync(["mknod", join(share, "zero"), "c", "1", "5"]);
    expect(await guest("dd if=/share/zero bs=16 count=1 | wc -c")).toContain("0\n");
    expect((await guest("head -c 4 /share/zero; echo $?")).includes("0\n")).toBe(false);
  }
  await guest("mkfifo /share/pipe");
  expect(lstatSync(join(share, "pipe")).isFIFO()).toBe(true);
});

test("a name of 255 bytes passes, one of 256 is refused", async () => {
  const longest = "n".repeat(255);
  await guest(`echo long >/share/${longest}`);
  expect(readFileSync(join(share, longest), "utf8")).toBe("long\n");
  expect(await guest(`echo x >/share/${longest}n`)).toContain("too long");
  expect(readdirSync(share)).toEqual([longest]);
});

test("names that are not UTF-8 pass both ways", async () => {
  const odd = Buffer.from([0x66, 0xff, 0xfe, 0xc3, 0x28]);
  const path = Buffer.concat([Buffer.from(`${share}/`), odd]);
  writeFileSync(path, "from the host\n");
  expect(await guest("cat /share/f*")).toBe("from the host\n");
  await guest("printf 'from the guest' >/share/$(printf 'g\\377\\001')");
  expect(
    readFileSync(Buffer.concat([Buffer.from(`${share}/`), Buffer.from([0x67, 0xff, 0x01])]), "utf8"),
  ).toBe("from the guest");
  const names = (await agent.listDir("/share")).map((entry) =>
    Buffer.from(entry.nameBytes ?? entry.name).toString("hex"),
  );
  expect(names.sort()).toEqual([odd.toString("hex"), "67ff01"].sort());
});

test("setting extended attributes and ownership stays within the share", async () => {
  symlinkSync(join(outside, "secret"), join(share, "link"));
  await guest(
    "chown -h 12:34 /share/link; chown 12:34 /share/link; chmod 777 /share/link; touch -h -d 2001-01-01 /share/link",
  );
  const stat = lstatSync(join(outside, "secret"));
  expect(stat.mode & 0o777).toBe(0o644);
  expect(stat.uid).toBe(process.getuid!());
  expect(stat.mtime.getFullYear()).not.toBe(2001);
});

test("a file that is shared by itself is watched by its name, whoever changes it", async () => {
  await using changes = agent.watch("/made/up/rw");
  await changes.ready;
  const modified = { done: false, value: { type: "modify", path: "/made/up/rw", directory: false } } as const;
  appendFileSync(join(beside, "rw"), "from the host\n");
  expect(await changes.next()).toEqual(modified);
  await agent.writeFile("/made/up/rw", "from the sandbox\n", { append: true });
  expect(await changes.next()).toEqual(modified);
  writeFileSync(join(beside, "rw"), "rw\n");
});

test("of a directory of which files are shared nothing else is reached", async () => {
  expect(await guest("cat /made/up/rw /etc/ro; ls -A /made/up")).toBe("rw\nro\nrw\n");
  await guest(`cat /made/up/secret /made/up/rw/../secret /etc/secret; echo x >/made/up/new; rm /made/up/rw /etc/ro
    mv /made/up/rw /tmp; mv /made/up /made/other; ln /made/up/rw /share/linked; ln /etc/ro /share/linked
    mkdir -p /tmp/all; mount --bind /made/up /tmp/all; cat /tmp/all/secret; umount /tmp/all
    umount /made/other/rw /made/up/rw; echo y >/made/other/rw; cat /made/*/secret`);
  expect(readdirSync(beside).sort()).toEqual(["ro", "rw", "secret"]);
  expect(readFileSync(join(beside, "rw"), "utf8")).toBe("rw\n");
  await guest(
    "mount -o remount,rw /etc/ro; mount -o remount,rw,bind /etc/ro; echo x >/etc/ro; chmod 0 /etc/ro; truncate -s 0 /etc/ro",
  );
  expect(readFileSync(join(beside, "ro"), "utf8")).toBe("ro\n");
  expect(lstatSync(join(beside, "ro")).mode & 0o777).toBe(0o644);
  writeFileSync(join(beside, "ro"), "written by the host\n");
  await guest('until [ "$(cat /etc/ro)" = "written by the host" ]; do sleep 0.1; done');
  renameSync(join(beside, "secret"), join(beside, "ro")); // another file: the guest has the one that was shared
  expect(await guest("echo 3 >/proc/sys/vm/drop_caches; cat /etc/ro")).toBe("written by the host\n");
  expect(readFileSync(join(beside, "ro"), "utf8")).toBe(secret);
  untouched();
});
