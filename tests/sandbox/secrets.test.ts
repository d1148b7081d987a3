/** Secrets of a sandbox, as real programs use them; that the guest never has them; and what leads to nobody else. */

import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { closeSync, existsSync, openSync, readdirSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { type Agent, Capsa, type RunningSandbox, readNetworkLog, sandbox } from "../../src/index.ts";
import { capsa, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";
import { startUpstream, type Upstream } from "../unit/secrets/upstream.ts";
import { own, peer, until, usePeers } from "./network_machines.ts";

const TOKEN = "s3cret-0f-the-sandbox-test";
const KEY = "another-secret-of-the-test";
const HOST = "own.test"; // the peers' name server says that it is this machine

const possible = usePeers();

describe.skipIf(!possible)("a sandbox with secrets", () => {
  ownRuntimeDirectory();
  let directory: Awaited<ReturnType<typeof scratch>>;
  let upstream: Upstream;
  let place: string;
  let vm: RunningSandbox;
  let agent: Agent;

  // by the command line, which has ended by the time that anything is asked of the proxy
  beforeAll(async () => {
    directory = await scratch();
    upstream = await startUpstream(HOST, own);
    place = `${HOST}:${upstream.port}`;
    await Bun.write(join(directory.path, "ca.pem"), upstream.authority);
    await Bun.write(join(directory.path, "key"), `${KEY}\n`);
    await Bun.write(
      join(directory.path, "capsa.toml"),
      `[sandbox.keyed]
      rootfs = "host"
      memory = "512M"
      bootTimeout = "2m"
      run = ["sleep", "infinity"]
      network = { allow = ["peer.test:7000"], nameServers = ["${peer}"] }
      [sandbox.keyed.secrets.API_TOKEN]
      from = "env:CAPSA_TEST_TOKEN"
      hosts = ["${place}"]
      [sandbox.keyed.secrets.API_KEY]
      from = "file:key"
      hosts = ["${place}"]
      header = "X-Api-Key"
      `,
    );
    const env = { CAPSA_TEST_TOKEN: TOKEN, NODE_EXTRA_CA_CERTS: join(directory.path, "ca.pem") };
    const up = await capsa(["up", "-d"], { cwd: directory.path, env });
    expect(up.stderr + up.stdout).not.toContain(TOKEN);
    expect(up).toMatchObject({ exitCode: 0 });
    vm = await Capsa.attach("keyed");
    agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  });
  afterAll(async () => {
    await agent?.close();
    await vm?.kill();
    await upstream?.[Symbol.asyncDispose]();
    await directory?.[Symbol.asyncDispose]();
  });

  /** Standard output and error of a command in the guest, which is given the host as $PLACE. */
  async function run(script: string): Promise<string> {
    const { stdout, stderr } = await agent.exec(script, { env: { PLACE: place }, timeoutMs: 120_000 });
    return stdout + stderr;
  }

  /** The last request's header, as the host saw it. */
  const seen = (name: string) => upstream.seen[upstream.seen.indexOf(name) + 1];

  /** Python that asks for /headers with a token, and prints what comes. */
  const python = (more = "") =>
    `python3 -c 'import os, ssl, urllib.request as u; ${more}
print(u.urlopen(u.Request("https://" + os.environ["PLACE"] + "/headers", headers={"Authorization": os.environ["API_TOKEN"]})).read())'`;

  test("the guest has placeholders", async () => {
    expect(await run("echo $API_TOKEN $API_KEY")).toMatch(/^(capsa-secret-[0-9a-f]{32}\s){2}$/);
    expect(readFileSync(join(vm.runtimeDir, "sandbox.json"), "utf8")).toContain('"env:CAPSA_TEST_TOKEN"');
  });

  test("curl sends the value, and gets it back as stars", async () => {
    const told = await run(
      'curl -sS -i -H "Authorization: Bearer $API_TOKEN" -H "X-Api-Key: $API_KEY" https://$PLACE/headers',
    );
    expect(seen("Authorization")).toBe(`Bearer ${TOKEN}`);
    expect(seen("X-Api-Key")).toBe(KEY);
    expect(told).toMatch(/X-Seen: .*Bearer capsa-secret-/);
    expect(told).toContain("*".repeat(TOKEN.length));
    expect(told).not.toContain(TOKEN);
    expect(told).not.toContain(KEY);
  });

  test("Python does, also without the variables that name the certificates", async () => {
    expect(await run(`unset SSL_CERT_FILE; ${python()}`)).toContain("*".repeat(TOKEN.length));
    expect(seen("Authorization")).toBe(TOKEN);
  });

  test.skipIf(!existsSync("/usr/bin/node"))("Node does", async () => {
    const script = `fetch("https://" + process.env.PLACE + "/echo", { method: "POST", body: "sent",
      headers: { authorization: process.env.API_TOKEN } }).then((r) => r.text()).then(console.log)`;
    expect(await run(`node -e '${script}'`)).toBe("sent\n");
    expect(seen("authorization")).toBe(TOKEN);
  });

  test.skipIf(!existsSync("/usr/bin/git"))("Git does, with the token as a password", async () => {
    expect(await run("git ls-remote https://me:$API_TOKEN@$PLACE/repository")).toBe(
      `${"0123456789".repeat(4)}\trefs/heads/main\n`,
    );
    expect(seen("Authorization")).toBe(`Basic ${Buffer.from(`me:${TOKEN}`).toString("base64")}`);
  });

  test("nobody else is given the value, and nothing leads elsewhere with it", async () => {
    const before = upstream.seen;
    const told = await run(`python3 -c '
import os, socket, ssl
token = os.environ["API_TOKEN"].encode()
port = ${upstream.port}
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
def say(sni, host, at="${HOST}"):
    try:
        s = context.wrap_socket(socket.create_connection((at, port), 5), server_hostname=sni)
        s.sendall(b"GET /headers HTTP/1.1\\r\\nHost: " + host.encode() + b"\\r\\nAuthorization: " + token + b"\\r\\n\\r\\n")
        print(s.recv(9999).decode().split()[1])
    except OSError as e:
        print(e.strerror)
other = socket.create_connection(("peer.test", 7000), 5)
other.sendall(token)
print(other.recv(99) == token)
say("peer.test", "${place}")
say("${HOST}", "peer.test:${upstream.port}")
say("peer.test", "peer.test")
say("${HOST}", "${place}", "${own}")
port = 22
say("${HOST}", "${HOST}")'`);
    expect(told.trim().split("\n")).toEqual([
      "True", // the placeholder, as it is
      "421", // an SNI that disagrees with Host
      "421", // a Host that disagrees with the SNI
      "421", // both are another's
      "No route to host", // the host's own address
      "No route to host", // another port of it
    ]);
    expect(upstream.seen).toBe(before);
    const log = (await readNetworkLog(vm.id)).split("\n");
    const line = `tcp ${place} refused: the TLS name (SNI) is another or none: this is ${place}`;
    expect(log.some((one) => one.endsWith(line))).toBe(true);
    expect(log).toEqual([
      ...log.slice(0, -1).sort((one, other) => one.slice(0, 20).localeCompare(other.slice(0, 20))),
      "",
    ]);
  });

  test("the value is in no memory of the guest's, in no file and in no list of processes", async () => {
    const placeholder = (await run("echo -n $API_TOKEN")).trim();
    let known = 0;
    let leaked = 0;
    for (const pid of family(vm.pid)) {
      for (const piece of memoryOf(pid)) {
        if (piece.includes(placeholder)) known++; // so it is looked for in the right place
        if (piece.includes(TOKEN) || piece.includes(KEY)) leaked++;
      }
    }
    expect({ known: known > 0, leaked }).toEqual({ known: true, leaked: 0 });
    const files = [...filesBelow(vm.runtimeDir), ...readdirSync("/proc").flatMap(processFiles)];
    const telling = files.filter((path) => [TOKEN, KEY].some((value) => contents(path).includes(value)));
    expect(telling).toEqual([]);
  });

  test("rules for the name hold", async () => {
    const ask = "curl -sS https://$PLACE/headers";
    const { allow = [] } = await vm.network.state();
    expect(allow).toEqual(["peer.test:7000", place]);
    await vm.network.update({ deny: [place] });
    expect(await run(ask)).toContain("curl: (");
    await vm.network.update({ deny: [] });
    expect(await run(ask)).toContain('"Host"');
  });

  test("the proxy ends with the sandbox", async () => {
    const proxies = () =>
      readdirSync("/proc").filter((pid) =>
        contents(`/proc/${pid}/cmdline`).endsWith(`/proxy/main.ts\0${vm.runtimeDir}\0`),
      );
    expect(proxies()).toHaveLength(1);
    await agent.close();
    await vm.kill();
    await until(() => proxies().length === 0);
    expect(proxies()).toEqual([]);
  });
});

const PAGE = 4096;
const PIECE = 4 << 20;
const PRESENT = 1n << 63n;
/** Only what a sanitizer keeps account of memory in is larger. */
const HUGE = 2 ** 36;

/** The process, and those that it has started: under QEMU the guest's memory is in one of them. */
function family(pid: number): number[] {
  const children = readdirSync("/proc").filter((other) => {
    const stat = /^\d+$/.test(other) ? contents(`/proc/${other}/stat`) : "";
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1] === String(pid);
  });
  return [pid, ...children.flatMap((child) => family(Number(child)))];
}

/** Pieces of a process's memory: what it may write to and has, the guest's memory among it. */
function* memoryOf(pid: number): Generator<Buffer> {
  const memory = openSync(`/proc/${pid}/mem`, "r");
  const pages = openSync(`/proc/${pid}/pagemap`, "r");
  const piece = Buffer.alloc(PIECE);
  const entries = Buffer.alloc((PIECE / PAGE) * 8);
  for (const line of contents(`/proc/${pid}/maps`).split("\n")) {
    const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
    if (from === undefined || to === undefined) continue;
    const [start, end] = [Number.parseInt(from, 16), Number.parseInt(to, 16)];
    if (end - start > HUGE) continue;
    for (let at = start; at < end; at += PIECE) {
      const count = Math.min(PIECE, end - at) / PAGE;
      readSync(pages, entries, 0, count * 8, (at / PAGE) * 8);
      const isThere = (page: number) => (entries.readBigUInt64LE(page * 8) & PRESENT) !== 0n;
      for (let first = 0; first < count; first++) {
        let last = first;
        while (last < count && isThere(last)) last++; // what was never touched would be made by reading it
        if (last === first) continue;
        const n = readSync(memory, piece, 0, (last - first) * PAGE, at + first * PAGE);
        yield piece.subarray(0, n);
        first = last;
      }
    }
  }
  closeSync(memory);
  closeSync(pages);
}

/** A file's text, "" where there is none to read. */
function contents(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // a process that has ended, a socket
  }
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !entry.parentPath.includes("/rootfs"))
    .map((entry) => join(entry.parentPath, entry.name));
}

/** What of a process everybody with its user may list. */
function processFiles(pid: string): string[] {
  return /^\d+$/.test(pid) ? [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`] : [];
}
