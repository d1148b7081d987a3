/**
 * Options that are misspelt, or belong elsewhere: none compiles (tsc finds a directive without an error), and each is refused
 * at run time with the one that was meant.
 */
import { expect, test } from "bun:test";
import { AgentClient } from "../../../src/agent/client.ts";
import { StagedChanges } from "../../../src/changes/changes.ts";
import { ArgumentError, Capsa, NetworkMode, sandbox, startSandbox } from "../../../src/index.ts";

const agent = new AgentClient({} as never);
const changes = new StagedChanges({} as never);
const box = Capsa.sandbox().run("/bin/true");

/** Says, by what was written. */
const mistakes: readonly (readonly [says: string, call: () => unknown])[] = [
  // @ts-expect-error
  ['exec has no option "workdir"; it has "cwd"', () => agent.exec("x", { workdir: "/tmp" })],
  // @ts-expect-error
  ['exec has no option "runAs"; it has "user"', () => agent.exec("x", { cwd: "/", runAs: "nobody" })],
  // @ts-expect-error
  ['exec has no option "timeout"; it has "timeoutMs"', () => agent.exec("x", { timeout: 500 })],
  // @ts-expect-error
  ['exec has no option "timeoutms"; it has "timeoutMs"', () => agent.exec("x", { timeoutms: 500 })],
  // @ts-expect-error
  ['exec has no option "environment"; it has "env"', () => agent.exec("x", { environment: { A: "1" } })],
  // @ts-expect-error
  ['exec has no option "maxBuffer"; it has "maxOutput"', () => agent.exec("x", { maxBuffer: 1 })],
  // @ts-expect-error
  ['exec has no option "onStdOut"; it has "onStdout"', () => agent.exec("x", { onStdOut: () => {} })],
  // @ts-expect-error
  ['exec has no option "path"', () => agent.exec("x", { path: "/bin" })],
  // @ts-expect-error
  ['exec has no option "pty"', () => agent.exec("x", { cwd: "/", pty: true })],
  // @ts-expect-error
  ['spawn has no option "tty"; it has "pty"', () => agent.spawn("x", { tty: true })],
  // @ts-expect-error
  ['spawn has no option "detached"; it has "detach"', () => agent.spawn("x", { detached: true })],
  // @ts-expect-error
  ['spawn has no option "maxOutput"', () => agent.spawn("x", { maxOutput: 1 })],
  // @ts-expect-error
  ['spawn has no option "dir"; it has "cwd"', () => agent.spawn("x", { dir: "/" })],
  // @ts-expect-error
  ['attachProcess has no option "reply"; it has "replay"', () => agent.attachProcess(1, { reply: 1 })],
  // @ts-expect-error
  ['processes has no option "timeout"; it has "timeoutMs"', () => agent.processes({ timeout: 1 })],
  // @ts-expect-error
  ['info has no option "sginal"; it has "signal"', () => agent.info({ sginal: undefined })],
  // @ts-expect-error
  ['ping has no option "timeout"; it has "timeoutMs"', () => agent.ping({ timeout: 1 })],
  // @ts-expect-error
  ['shutdown has no option "grace"; it has "graceMs"', () => agent.shutdown({ grace: 1 })],
  // @ts-expect-error
  ['readFile has no option "lenght"; it has "length"', () => agent.readFile("/x", { lenght: 1 })],
  // @ts-expect-error
  ['readFile has no option "encoding"', () => agent.readFile("/x", { encoding: "utf8" })],
  // @ts-expect-error
  ['readTextFile has no option "offest"; it has "offset"', () => agent.readTextFile("/x", { offest: 1 })],
  // @ts-expect-error
  ['readFileStream has no option "size"', () => agent.readFileStream("/x", { size: 1 })],
  // @ts-expect-error
  ['writeFile has no option "parent"; it has "parents"', () => agent.writeFile("/x", "", { parent: true })],
  // @ts-expect-error
  ['writeFile has no option "perms"', () => agent.writeFile("/x", "", { perms: 0o600 })],
  // @ts-expect-error
  ['exists has no option "timeout"; it has "timeoutMs"', () => agent.exists("/x", { timeout: 1 })],
  // @ts-expect-error
  ['listDir has no option "maxbytes"; it has "maxBytes"', () => agent.listDir("/x", { maxbytes: 1 })],
  [
    'stat has no option "followSymlink"; it has "followSymlinks"',
    // @ts-expect-error
    () => agent.stat("/x", { followSymlink: true }),
  ],
  // @ts-expect-error
  ['mkdir has no option "recursiv"; it has "recursive"', () => agent.mkdir("/x", { recursiv: true })],
  // @ts-expect-error
  ['remove has no option "forced"; it has "force"', () => agent.remove("/x", { forced: true })],
  // @ts-expect-error
  ['rename has no option "force"', () => agent.rename("/x", "/y", { force: true })],
  // @ts-expect-error
  ['copy has no option "recurive"; it has "recursive"', () => agent.copy("/x", "/y", { recurive: true })],
  // @ts-expect-error
  ['chmod has no option "recursive"', () => agent.chmod("/x", 0o644, { recursive: true })],
  // @ts-expect-error
  ['chown has no option "recursive"', () => agent.chown("/x", { user: 1 }, { recursive: true })],
  // @ts-expect-error
  ['symlink has no option "force"', () => agent.symlink("x", "/y", { force: true })],
  // @ts-expect-error
  ['upload has no option "uid"; it has "user"', () => agent.upload("./x", "/x", { uid: 1 })],
  [
    'download has no option "maxbytes"; it has "maxBytes"',
    // @ts-expect-error
    () => agent.download("/x", "./x", { maxbytes: 1 }),
  ],
  // @ts-expect-error
  ['listDir has no option "recurse"; it has "recursive"', () => agent.listDir("/x", { recurse: true })],
  // @ts-expect-error
  ['collect has no option "maxFile"; it has "maxFiles"', () => agent.collect("/x", { maxFile: 1 })],
  // @ts-expect-error
  ['owner has no option "uid"; it has "user"', () => agent.mkdir("/x", { owner: { uid: 1 } })],
  // @ts-expect-error
  ['glob has no option "dots"; it has "dot"', () => agent.glob("*", { dots: true })],
  // @ts-expect-error
  ['watch has no option "recursion"; it has "recursive"', () => agent.watch("/x", { recursion: true })],
  // @ts-expect-error
  ['diff has no option "fromat"; it has "format"', () => changes.diff([], { fromat: "git" })],
  // @ts-expect-error
  ['apply has no option "forced"; it has "force"', () => changes.apply([], { forced: true })],
  // @ts-expect-error
  ['waitReady has no option "timeout"', () => sandbox.waitReady("/x", { timeout: 1 })],
  [
    'startSandbox has no option "detach"; it has "detached"',
    // @ts-expect-error
    () => startSandbox(box.spec(), { detach: true }),
  ],
  // @ts-expect-error
  ['build has no option "onnotice"; it has "onNotice"', () => box.build({ onnotice: () => {} })],
  // @ts-expect-error
  ['Capsa.pool has no option "onError"', () => Capsa.pool(box, 1, { onError: () => {} })],
  [
    "alow",
    () =>
      Capsa.sandbox()
        // @ts-expect-error
        .network(NetworkMode.UserNat({ alow: [] }))
        .run("/bin/true")
        .build(),
  ],
  // @ts-expect-error
  ["ownerhip", () => Capsa.sandbox().share("/", "/x", { mode: "ro", ownerhip: "root" }).run("/x").build()],
];

test.each(mistakes)("%s", async (says, call) => {
  const error = await Promise.resolve()
    .then(call)
    .then(
      () => undefined,
      (reason) => reason,
    );
  expect(error).toBeDefined();
  const text = `${error.message}; ${error.hint}`;
  expect(text).toContain(says);
  if (says.includes("has no option")) expect(error).toBeInstanceOf(ArgumentError);
});

test("an environment in capitals needs no env; other names do", async () => {
  await expect(agent.exec("x", { GREETING: "hello", A_1: "b" })).rejects.not.toThrow("option");
  await expect(agent.exec("x", { env: { http_proxy: "x" } })).rejects.not.toThrow("option");
  await expect(agent.exec("x", { http_proxy: "x" } as never)).rejects.toThrow('no option "http_proxy"');
});
