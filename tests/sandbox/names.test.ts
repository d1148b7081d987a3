/**
 * Names in a sandbox are found as this machine finds them: the same clients, here and there, over name servers that
 * misbehave (names_server.py). Here they obey a resolv.conf that is mounted over this machine's, for them alone.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lines } from "../../src/secrets/proxy/talk.ts";
import { type Machine, machine } from "./network_machines.ts";

const here = (file: string) => join(import.meta.dir, file);
const directory = mkdtempSync(join(tmpdir(), "capsa-names-"));
const servers = [1, 2].map((last) => `127.${64 + (process.pid % 60)}.${(process.pid >> 6) % 250}.${last}`);
const python = "/usr/bin/python3";

const WELL = ["plain.test", "four.test", "six.test", "alias.test", "none.test", "many.test", "cut.test"];
const BADLY = ["slow", "drop", "silent", "wrongid", "wrongname", "case", "port", "garbage", "formerr"].concat(
  ["servfail", "refused", "notimp"].flatMap((code) => [code, `${code}-all`]),
);
const names = [...WELL, ...BADLY.map((label) => `${label}.test`)];

const missing = (() => {
  if (process.getuid?.() !== 0) return "port 53 and a resolv.conf of their own need root";
  const ready = ["unshare", "mount"].every((program) => Bun.which(program) !== null);
  return ready && Bun.file(python).size > 0 ? undefined : `no ${python}, unshare or mount`;
})();
if (missing !== undefined) test.skip(`names: ${missing}`, () => {});

/** How it is skipped where a client is not installed. */
const testWith = (program: string | null, what: string) =>
  program === null ? (name: string, _: () => unknown) => test.skip(`${name} (no ${what})`, () => {}) : test;

describe.skipIf(missing !== undefined)("as on this machine", () => {
  let m: Machine;
  let server: Bun.Subprocess<"pipe", "pipe", "inherit">;
  let said: AsyncIterator<string, void, void>;
  const line = async () => (await said.next()).value ?? "";

  beforeAll(async () => {
    server = Bun.spawn([python, here("names_server.py"), ...servers], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
    said = lines(server.stdout.getReader());
    expect(await line()).toBe("ready");
    writeFileSync(join(directory, "resolv.conf"), servers.map((one) => `nameserver ${one}\n`).join(""));
    writeFileSync(join(directory, "nsswitch.conf"), "hosts: files dns\n");
    // a rule of its own for each name: no limit is set to how often that may be asked for
    m = await machine({ nameServers: servers, allow: [...names, "*.test"] }, "host", "host");
    await m.agent.writeFile("/tmp/names_client.py", readFileSync(here("names_client.py")));
  });
  afterAll(async () => {
    await m?.[Symbol.asyncDispose]();
    server?.kill();
    rmSync(directory, { recursive: true });
  });

  /** What a command prints here, and in the sandbox; `{}` becomes the directory of its files. */
  async function onHost(command: string, env: Record<string, string> = {}): Promise<string> {
    const mounts = ["resolv.conf", "nsswitch.conf"].map(
      (file) => `mount --bind ${join(directory, file)} /etc/${file}`,
    );
    const script = [...mounts, command.replaceAll("{}", directory)].join(" && ");
    const run = ["unshare", "-m", "sh", "-c", script];
    return new Response(Bun.spawn(run, { env: { ...process.env, ...env } }).stdout).text();
  }
  async function inSandbox(command: string, env: Record<string, string> = {}): Promise<string> {
    return (await m.agent.exec(command.replaceAll("{}", "/tmp"), { timeoutMs: 60_000, env })).stdout;
  }
  const sorted = (text: string) => text.trim().split("\n").sort();
  /** The same lines here and there, so many of them; returns them. */
  async function same(count: number, command: string, env?: Record<string, string>): Promise<string[]> {
    const said = await Promise.all([onHost(command, env), inSandbox(command, env)]);
    const [one, other] = said.map(sorted);
    expect(other).toEqual(one!);
    expect(one).toHaveLength(count);
    return one!;
  }

  const put = async (file: string, bytes: Uint8Array | string) => {
    writeFileSync(join(directory, file), bytes);
    chmodSync(join(directory, file), 0o755);
    await m.agent.writeFile(`/tmp/${file}`, bytes, { mode: 0o755 });
  };

  test("the C library finds what it finds", async () => {
    await put("names_client.py", readFileSync(here("names_client.py")));
    const found = await same(3 * names.length, `${python} {}/names_client.py library ${names.join(" ")}`);
    expect(found).toContain("servfail-all.test any: -3");
    expect(found).toContain("none.test 4: -2");
    const right = new RegExp(
      `^(${BADLY.filter((label) => !label.endsWith("-all")).join("|")})\\.test 4: 203\\.0\\.113\\.`,
    );
    expect(found.filter((line) => right.test(line))).toHaveLength(BADLY.length - 3);
    expect(found.find((line) => line.startsWith("cut.test 4"))!.split(" ")).toHaveLength(42);
  });

  test("and with EDNS", async () => {
    const some = ["formerr", "plain", "many", "refused"].map((label) => `${label}.test`);
    const command = `${python} {}/names_client.py library ${some.join(" ")}`;
    await same(12, command, { RES_OPTIONS: "edns0" });
  });

  test("questions made by hand are answered to the byte", async () => {
    const asked = async () => {
      server.stdin.write("\n");
      return JSON.parse(await line());
    };
    await asked();
    const one = await onHost(`${python} {}/names_client.py raw ${servers[0]}`);
    const often = await asked();
    const other = await inSandbox(`${python} {}/names_client.py raw 10.0.2.3`);
    expect(sorted(other)).toEqual(sorted(one));
    // each is asked for as often as there: nothing is lost, and nothing said twice
    expect(await asked()).toEqual(often);
  });

  testWith(Bun.which("musl-gcc"), "musl-gcc")("musl finds what it finds", async () => {
    const program = join(directory, "names_musl");
    const built = Bun.spawnSync(["musl-gcc", "-static", "-O1", "-o", program, here("names_musl.c")]);
    expect(built.stderr.toString()).toBe("");
    await put("names_musl", readFileSync(program));
    // it believes an answer to another question, which a sandbox never gets
    const asked = names.filter((name) => name !== "wrongname.test");
    await same(3 * asked.length, `{}/names_musl ${asked.join(" ")}`);
  });

  testWith(Bun.file("/usr/bin/node").size > 0 ? "" : null, "/usr/bin/node")(
    "c-ares (Node) finds what it finds",
    async () => {
      await put(
        "names.js",
        `const { Resolver } = require("node:dns").promises; const resolver = new Resolver();
const ask = async (name, type) => {
  try { return JSON.stringify([].concat(await resolver.resolve(name, type)).map((one) => JSON.stringify(one)).sort()); }
  catch ({ code }) { return code; }
};
const all = process.argv.slice(2).flatMap((name) => ["A", "AAAA", "MX", "TXT"].map((type) => [name, type]));
Promise.all(all.map(async ([name, type]) => \`\${name} \${type}: \${await ask(name, type)}\`)).then((lines) => console.log(lines.join("\\n")));`,
      );
      await same(4 * WELL.length, `/usr/bin/node {}/names.js ${WELL.join(" ")}`);
    },
  );

  testWith(Bun.which("busybox"), "busybox")("busybox finds what it finds", async () => {
    // it names the server that it has asked
    const one = (name: string) =>
      `busybox nslookup -type=a ${name} 2>&1 | grep -v '^Server:\\|:53$\\|^$\\|^Non-auth' | tr '\\n' ' '; echo`;
    await same(4, ["plain", "alias", "none", "wrongid"].map((label) => one(`${label}.test`)).join("; "));
  });
});
