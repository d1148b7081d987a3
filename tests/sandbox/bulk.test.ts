/** Much of everything through one sandbox: large files, many files, long output, binary output, many programs. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { createHash, randomBytes } from "node:crypto";
import { createReadStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, type RunningSandbox, sandbox } from "../../src/index.ts";

const MiB = 1024 * 1024;
/** Where processors are slow (the lab's are emulated twice) everything is so many times smaller. */
const shrink = Number(process.env.CAPSA_TEST_SHRINK ?? 1);
const GiB = (1024 * MiB) / shrink;
const many = Math.ceil(100 / shrink) * 1000;
let share: string;
let vm: RunningSandbox;
let agent: Agent;

beforeAll(async () => {
  share = mkdtempSync(join(tmpdir(), "capsa-bulk-"));
  vm = await Capsa.sandbox()
    .cpus(2)
    .memoryMb(512 + 2560 / shrink)
    .share(share, "/share", MountMode.ReadWrite)
    .run("/bin/sleep", ["infinity"])
    .build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
});

afterAll(async () => {
  await vm?.kill();
  rmSync(share, { recursive: true, force: true });
});

function size(bytes: number): string {
  return bytes >= 1024 * MiB ? `${bytes / 1024 / MiB} GiB` : `${bytes / MiB} MiB`;
}

/** `length` bytes that do not repeat soon, piece by piece, without holding them all. */
async function* noise(length: number): AsyncGenerator<Uint8Array> {
  const piece = randomBytes(4 * MiB);
  for (let sent = 0, round = 0; sent < length; sent += piece.length, round++) {
    const next = Buffer.from(piece);
    next.writeUInt32LE(round);
    yield next.subarray(0, Math.min(next.length, length - sent));
  }
}

/** Pass `source` on and hash it on the way. */
async function* hashed(
  source: AsyncIterable<Uint8Array>,
  hash: ReturnType<typeof createHash>,
): AsyncGenerator<Uint8Array> {
  for await (const piece of source) {
    hash.update(piece);
    yield piece;
  }
}

async function sha256(source: AsyncIterable<Uint8Array>): Promise<string> {
  const hash = createHash("sha256");
  for await (const piece of source) hash.update(piece);
  return hash.digest("hex");
}

function resident(pid: number | "self", field: "VmRSS" | "VmHWM" = "VmRSS"): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(status)?.[1]) * 1024;
}

test(`a file of ${size(2 * GiB)} survives the agent both ways`, async () => {
  await agent.exec("mkdir /big && mount -t tmpfs -o size=2200m tmpfs /big");
  const sent = createHash("sha256");
  expect(await agent.writeFile("/big/file", hashed(noise(2 * GiB), sent))).toBe(2 * GiB);
  const want = sent.digest("hex");
  expect(await sha256(agent.readFileStream("/big/file"))).toBe(want);
  await agent.exec("umount /big && rmdir /big");
}, 400_000);

test(`a file of ${size(2 * GiB)} survives a share both ways`, async () => {
  const file = join(share, "big");
  const hash = createHash("sha256");
  const sink = Bun.file(file).writer();
  for await (const piece of hashed(noise(2 * GiB), hash)) {
    sink.write(piece);
    await sink.flush();
  }
  await sink.end();
  const want = hash.digest("hex");
  const copy = await agent.exec("cp /share/big /share/copy && sync");
  expect(copy.stdout + copy.stderr).toBe("");
  expect(await sha256(createReadStream(join(share, "copy"), { highWaterMark: 4 * MiB }))).toBe(want);
  rmSync(file);
  rmSync(join(share, "copy"));
}, 400_000);

test(`${many} small files are listed and walked through a share`, async () => {
  const tree = join(share, "tree");
  const directories = many / 1000;
  for (let d = 0; d < directories; d++) {
    mkdirSync(join(tree, `d${d}`), { recursive: true });
    for (let f = 0; f < 1000; f++) writeFileSync(join(tree, `d${d}`, `f${f}`), `${d}/${f}`);
  }
  const walked = await agent.exec("find /share/tree -type f -size -2 | wc -l; cat /share/tree/d0/f999");
  expect(walked.stdout).toBe(`${many}\n0/999`);
  const flat = join(share, "flat");
  mkdirSync(flat);
  for (let f = 0; f < many; f++) writeFileSync(join(flat, `f${f}`), "");
  const listed = await agent.listDir("/share/flat");
  expect(listed.length).toBe(many);
  expect(new Set(listed.map((entry) => entry.name)).size).toBe(many);
  expect(listed.every((entry) => entry.type === "file" && entry.size === 0)).toBe(true);
  const walkedFlat = await agent.exec(
    "find /share/flat -type f | wc -l; rm -r /share/tree/d0 && ls -A /share/tree | wc -l",
  );
  expect(walkedFlat.stdout).toBe(`${many}\n${directories - 1}\n`);
  for (const directory of [tree, flat]) rmSync(directory, { recursive: true });
}, 400_000);

test(`${size(GiB)} of output streams with bounded memory on both sides`, async () => {
  const before = { host: resident("self"), guest: (await agent.info()).memoryFree };
  let seen = 0;
  let hostPeak = 0;
  let guestLow = before.guest;
  const child = await agent.spawn(["dd", "if=/dev/zero", "bs=1M", `count=${GiB / MiB}`]);
  const drainErr = new Response(child.stderr).text();
  for await (const piece of child.stdout) {
    seen += piece.length;
    if (seen % (64 * MiB) < piece.length) {
      hostPeak = Math.max(hostPeak, resident("self") - before.host);
      guestLow = Math.min(guestLow, (await agent.info()).memoryFree);
    }
  }
  await drainErr;
  expect((await child.exited).exitCode).toBe(0);
  expect(seen).toBe(GiB);
  console.log(
    `${size(GiB)} of output: Bun grew by ${(hostPeak / MiB).toFixed(0)} MiB at most, the guest by ${((before.guest - guestLow) / MiB).toFixed(0)} MiB, the VMM's peak is ${(resident(vm.pid, "VmHWM") / MiB).toFixed(0)} MiB`,
  );
  expect(hostPeak).toBeLessThan(256 * MiB);
  expect(before.guest - guestLow).toBeLessThan(64 * MiB);
}, 400_000);

test("a reader that stops holds the program back", async () => {
  const child = await agent.spawn([
    "sh",
    "-c",
    "dd if=/dev/zero bs=64k count=1000 2>/dev/null; echo done >/tmp/finished",
  ]);
  await Bun.sleep(1500);
  expect(await agent.exists("/tmp/finished")).toBe(false);
  const [out] = await Promise.all([
    new Response(child.stdout).bytes(),
    new Response(child.stderr).bytes(),
    child.exited,
  ]);
  expect(out.length).toBe(1000 * 65536);
  expect(await agent.exists("/tmp/finished")).toBe(true);
});

test("output of every byte value survives", async () => {
  const bytes = randomBytes(8 * MiB + 123);
  await agent.writeFile("/tmp/noise", bytes);
  const { stdoutBytes, stderrBytes } = await agent.exec("cat /tmp/noise; cat /tmp/noise >&2");
  expect(Buffer.compare(stdoutBytes, bytes)).toBe(0);
  expect(Buffer.compare(stderrBytes, bytes)).toBe(0);
});

test("64 programs at once, nothing lost and nothing mixed", async () => {
  const results = await Promise.all(
    Array.from({ length: 64 }, (_, n) =>
      agent.exec(
        `i=0; while [ $i -lt 50 ]; do echo "${n} $i"; i=$((i+1)); done; echo "err ${n}" >&2; exit ${n}`,
      ),
    ),
  );
  for (const [n, result] of results.entries()) {
    expect(result.exitCode).toBe(n);
    expect(result.stderr).toBe(`err ${n}\n`);
    expect(result.stdout).toBe(Array.from({ length: 50 }, (_, i) => `${n} ${i}\n`).join(""));
  }
}, 120_000);
