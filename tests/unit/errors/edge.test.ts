/** The edge of the public API: whatever its calls are given, what leaves them is a CapsaError with a code. */
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as api from "../../../src/index.ts";
import { Pool } from "../../../src/sandbox/pool.ts";
import { FakeAgent } from "../agent/fake.ts";
import { fuzz, survives } from "../nasty.ts";

setDefaultTimeout(120_000);
const SEED = Number(process.env.CAPSA_SEED ?? 1);

const directory = mkdtempSync(join(tmpdir(), "capsa-edge-"));
const place = (name: string) => join(directory, name);
process.env.CAPSA_RUNTIME_DIR = mkdtempSync(place("run-"));
process.env.XDG_STATE_HOME = place("state");
afterAll(() => rmSync(directory, { recursive: true }));

/** It refuses all that is asked of it. */
const refusing = () =>
  new FakeAgent(({ id, op }, peer) => {
    if (op !== undefined) peer.send({ id, ok: false, error: { code: "EIO", message: "no" } });
  });

/** No two of an agent's calls take the same. */
const AGENT = {
  exec: ["true", {}],
  spawn: [["true"], {}],
  attachProcess: [1, {}],
  processes: [{}],
  readFile: ["/x", {}],
  readTextFile: ["/x", {}],
  readFileStream: ["/x", {}],
  writeFile: ["/x", "text", {}],
  exists: ["/x", {}],
  listDir: ["/x", {}],
  collect: ["/x", {}],
  stat: ["/x", {}],
  mkdir: ["/x", {}],
  remove: ["/x", {}],
  rename: ["/x", "/y", {}],
  copy: ["/x", "/y", {}],
  chmod: ["/x", 0o644, {}],
  chown: ["/x", { user: 1 }, {}],
  symlink: ["/x", "/y", {}],
  readLink: ["/x", {}],
  upload: [place("nothing"), "/x", {}],
  download: ["/x", place("copy"), {}],
  glob: ["*", {}],
  watch: ["/x", {}],
  info: [{}],
  ping: [{}],
  shutdown: [{}],
};

test("an agent's calls", async () => {
  await using fake = refusing();
  await using agent = await fake.connect();
  await fuzz(agent, AGENT, { seed: SEED, but: ["close"] });
});

test("an agent's calls once it is closed", async () => {
  await using fake = refusing();
  const agent = await fake.connect();
  await agent.close();
  for (const [name, args] of Object.entries(AGENT)) {
    const call = (agent as unknown as Record<string, (...args: unknown[]) => unknown>)[name]!;
    await survives(name, () => call.apply(agent, args));
  }
  await expect(agent.exec("true")).rejects.toMatchObject({ code: "GUEST_LOST" });
});

test("what does not fit into a request is refused with the limit", async () => {
  await using fake = refusing();
  await using agent = await fake.connect();
  const long = "x".repeat(2_000_000);
  const calls = [
    () => agent.exec(`cat >/tmp/f <<'E'\n${long}\nE`),
    () => agent.exec(["true", ...Array(15).fill(long.slice(0, 100_000))]),
    () => agent.exec("true", { env: { LONG: long } }),
    () => agent.spawn(["true"], { cwd: `/${long}` }),
    () => agent.stat(`/${long}`),
  ];
  for (const call of calls)
    await expect(call()).rejects.toMatchObject({
      code: "ARGUMENTS",
      message: expect.stringContaining("1048576"),
    });
  expect(fake.received).toEqual([]);
  await expect(agent.exec(undefined as never)).rejects.toMatchObject({
    code: "ARGUMENTS",
    message: "a command should be a string or a list of strings, not undefined",
  });
});

test("the caller's own: the reason of a signal as it is, what else throws as the cause", async () => {
  await using fake = refusing();
  await using agent = await fake.connect();
  const mine = new Error("mine");
  await expect(agent.ping({ signal: AbortSignal.abort(mine) })).rejects.toBe(mine);
  const getter = Object.defineProperty({}, "timeoutMs", {
    enumerable: true,
    get: () => {
      throw mine;
    },
  });
  await expect(agent.ping(getter)).rejects.toMatchObject({ code: "ARGUMENTS", cause: mine });
  const broken = new ReadableStream({ start: (controller) => controller.error(mine) });
  await expect(agent.writeFile("/x", broken)).rejects.toBeInstanceOf(api.CapsaError);
});

const spec = () => ({
  ...api.Capsa.sandbox().run("/bin/true").spec(),
  secrets: { TOKEN: { from: "nowhere", hosts: [] } }, // so that nothing is ever started
});

test("what is exported", async () => {
  await using fake = refusing();
  const { startSandbox, attach, ended, list, readLog, readNetworkLog, explainNetwork, pendingChanges } = api;
  const calls = {
    startSandbox,
    attach,
    ended,
    list,
    readLog,
    readNetworkLog,
    explainNetwork,
    pendingChanges,
  };
  const functions = Object.entries(api).filter(
    ([name, value]) => typeof value === "function" && !/Error$/.test(name),
  );
  expect(functions.map(([name]) => name).sort()).toEqual(Object.keys(calls).sort());
  const user = api.NetworkMode.UserNat();
  const good = {
    startSandbox: [spec(), {}],
    attach: ["nobody"],
    readLog: ["nobody"],
    readNetworkLog: ["nobody"],
    explainNetwork: [user, { host: "example.org", protocol: "tcp", port: 443 }, {}],
  };
  await fuzz(calls, good, { seed: SEED, part: 0.3 });
  for (const [key, value] of Object.entries(spec()))
    await fuzz(
      { start: (given: unknown) => startSandbox({ ...spec(), [key]: given } as never) },
      { start: [value] },
      { seed: SEED, part: 0.3 },
    );
  await fuzz(api.NetworkMode, {}, { seed: SEED, part: 0.3 });
  const { waitReady, waitReadyTimeout } = api.sandbox;
  const ready = { waitReady: waitReady.bind(null, fake.path), waitReadyTimeout };
  await fuzz(ready, { waitReady: [{}], waitReadyTimeout: [fake.path, 50, {}] }, { seed: SEED, part: 0.3 });
});

test("builders and raw VMs", async () => {
  const kernel = place("no-kernel");
  const { sandbox, network, vm } = api.Capsa;
  await fuzz(
    { sandbox, network, vm, attach: api.Capsa.attach },
    { vm: [{ kernel }] },
    { seed: SEED, part: 0.3 },
  );
  const builder = api.Capsa.sandbox();
  const good = {
    share: [directory, "/x", { mode: "ro" }],
    secret: ["TOKEN", { from: "env:X", hosts: ["example.org"] }],
    join: [network(), "x"],
    run: ["/bin/true", [], {}],
    env: [{ A: "b" }],
  };
  const nowhere = builder.kernel(kernel);
  // each call's answer is what `build` is asked of; there is no such kernel
  const built: Record<string, (...args: never[]) => unknown> = {};
  for (const name of Object.getOwnPropertyNames(Object.getPrototypeOf(builder))) {
    if (["constructor", "build", "start", "spec"].includes(name)) continue;
    built[name] = (...args) => {
      const described = (nowhere as unknown as Record<string, (...args: never[]) => typeof nowhere>)[name]!(
        ...args,
      );
      return name === "run" || name === "oci"
        ? (described as never as api.RunnableSandbox).build()
        : described.run("/x").build();
    };
  }
  built.kernel = (...args) =>
    builder
      .kernel(...(args as [never]))
      .run("/x")
      .initrd(kernel)
      .build();
  await fuzz(built, good, { seed: SEED, part: 0.3 });
  await fuzz(nowhere.run("/bin/true"), good, { seed: SEED, part: 0.3 });
  const raw = api.Capsa.vm({ kernel });
  await fuzz(raw, { start: [{}], vsockListen: [5, () => {}], stop: [{}] }, { seed: SEED, part: 0.3 });
  await fuzz(
    raw.console,
    { exec: ["true", {}], waitFor: ["x", { timeoutMs: 1 }], login: ["root", "", { timeoutMs: 1 }] },
    { seed: SEED, part: 0.3 },
  );
});

test("a pool", async () => {
  const vm = {
    name: "x",
    exited: new Promise(() => {}),
    kill: async () => {},
    ref() {},
    unref() {},
    begin() {},
  } as never;
  const pool = new Pool(1, async () => vm);
  await fuzz(pool, { reserve: [{}] }, { seed: SEED, but: ["close"] });
  await pool.close();
  await expect(pool.reserve()).rejects.toMatchObject({ code: "POOL_CLOSED" });
  await fuzz({ pool: api.Capsa.pool }, { pool: [api.Capsa.sandbox().run("x"), 0, {}] }, { seed: SEED });
});
