/** A guest that puts links in the place of what this machine goes by: at a later start, in an apply, a copy, a service. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, type CapsaError, type RunningSandbox, sandbox } from "../../src/index.ts";
import { capableDirectory } from "../unit/changes/staged.ts";
import { capsa, ownRuntimeDirectory } from "../unit/cli/capsa.ts";

const name = `links-${process.pid.toString(36)}`;
const before = process.env.XDG_STATE_HOME;
let top: string;
let state: string;
let vm: RunningSandbox;
let agent: Agent;
let secret: Server;
let met = 0;

const project = () => join(top, "project");
const outside = () => join(top, "outside");
const refused = { code: "GUEST_LINK", message: expect.stringContaining(`where sandbox ${name} may write`) };

beforeAll(async () => {
  state = capableDirectory();
  process.env.XDG_STATE_HOME = state;
  top = realpathSync(mkdtempSync(join(tmpdir(), "capsa-links-")));
  for (const path of ["project/cache", "project/vendor", "project/results", "outside"])
    mkdirSync(join(top, path), { recursive: true });
  writeFileSync(join(outside(), "secret"), "secret");
  secret = createServer((socket) => {
    met++;
    socket.end("secret");
  });
  await new Promise<void>((done) => secret.listen(join(top, "secret.sock"), done));
  vm = await Capsa.sandbox()
    .name(name)
    .rootfs("host")
    .share(project(), "/project", "rw")
    .share(join(project(), "vendor"), "/vendor", "transaction")
    .run("/bin/sleep", ["infinity"])
    .build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  await agent.writeFile("/vendor/new", "from the guest");
  await agent.exec(
    `cd /project && rmdir cache results && mv vendor aside &&
     for name in cache results vendor; do ln -s ${outside()} $name; done && ln -s ${top}/secret.sock service.sock`,
  );
}, 120_000);
afterAll(async () => {
  await vm[Symbol.asyncDispose]();
  secret.close();
  if (before === undefined) delete process.env.XDG_STATE_HOME;
  else process.env.XDG_STATE_HOME = before;
  const left = readdirSync(outside());
  for (const path of [top, state]) rmSync(path, { recursive: true });
  expect(left).toEqual(["secret"]);
  expect(met).toBe(0);
});
ownRuntimeDirectory(); // behind the sandbox's end

test("a share does not lead there, in another sandbox while this one runs", async () => {
  for (const mode of ["ro", "rw"] as const) {
    const other = Capsa.sandbox().share(join(project(), "cache"), "/cache", mode).run("/bin/true").build();
    await expect(other).rejects.toMatchObject({ name: "SpecError", ...refused });
  }
});

test("an apply and a diff do not lead there, and go on once the directory is back", async () => {
  await expect(vm.diff()).rejects.toMatchObject(refused);
  await expect(vm.apply()).rejects.toMatchObject(refused);
  await agent.exec("cd /project && rm vendor && mkdir vendor");
  await expect(vm.apply()).rejects.toMatchObject({ code: "SHARE_REPLACED" });
  await agent.exec("cd /project && rmdir vendor && mv aside vendor");
  expect((await vm.apply()).applied.map(({ path }) => path)).toEqual(["/vendor/new"]);
});

test("a copy does not lead there, either way", async () => {
  for (const args of [
    [`${name}:/etc/hostname`, "./results/run1"],
    ["-p", `${name}:/etc/hostname`, "./results/a/b/c"],
    ["./results/secret", `${name}:/tmp/x`],
  ]) {
    const { exitCode, stderr } = await capsa(["cp", ...args], { cwd: project() });
    expect(stderr).toContain('"results" is a link');
    expect(exitCode).toBe(1);
  }
});

test("a service that is lent does not become another one", async () => {
  const { promise: told, resolve } = Promise.withResolvers<CapsaError>();
  await using opening = await vm.expose(join(project(), "service.sock"), { onFailure: resolve });
  await agent.exec([
    "python3",
    "-c",
    `import socket; socket.create_connection(("localhost", ${opening.guestPort})).recv(9)`,
  ]);
  expect(await told).toMatchObject(refused);
});
