/** Files and sockets in a directory where a VMM that was taken over may have put anything. */

import { afterAll, beforeEach, expect, test } from "bun:test";
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { signalProcess } from "../../../src/engine/library.ts";
import { openPlainFile, readPlainFile } from "../../../src/host/files.ts";
import { identify } from "../../../src/host/process.ts";
import { withSocket } from "../../../src/wire/socket.ts";

const top = mkdtempSync(join(tmpdir(), "capsa-plain-"));
const secret = join(top, "secret");
let count = 0;
let path: string;
const servers: Server[] = [];

beforeEach(() => {
  path = join(top, `file${++count}`);
  writeFileSync(secret, "of the host");
});

afterAll(() => {
  for (const server of servers) server.close();
  rmSync(top, { recursive: true });
});

const text = (limit = 100) => Buffer.from(readPlainFile(path, limit)).toString();

async function listenAt(place: string): Promise<void> {
  const server = createServer((stream) => stream.end("heard"));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(place, resolve));
}

test("a plain file is read up to a limit", () => {
  writeFileSync(path, "0123456789");
  expect(text()).toBe("0123456789");
  expect(text(4)).toBe("0123");
  truncateSync(path, 2 ** 40);
  expect(readPlainFile(path, 1 << 20)).toHaveLength(1 << 20);
});

test("what is no plain file is read as nothing, and nobody waits for it", async () => {
  expect(text()).toBe("");
  symlinkSync(secret, path);
  expect(text()).toBe("");
  rmSync(path);
  linkSync(secret, path);
  expect(text()).toBe("");
  rmSync(path);
  Bun.spawnSync(["mkfifo", path]);
  expect(text()).toBe("");
  rmSync(path);
  mkdirSync(path);
  expect(text()).toBe("");
  path = join(top, "s");
  await listenAt(path);
  expect(text()).toBe("");
});

test("a file to write to is none of these either", () => {
  symlinkSync(secret, path);
  expect(openPlainFile(path, 0x441)).toBeUndefined(); // O_WRONLY | O_CREAT | O_APPEND
  rmSync(path);
  const fd = openPlainFile(path, 0x441);
  expect(fd).toBeNumber();
  closeSync(fd!);
});

test("a socket is connected to, a link to one is not", async () => {
  const socket = join(top, "real.sock");
  await listenAt(socket);
  const connect = (unix: string) =>
    new Promise<string>((resolve, reject) => {
      const events = { data: (_: unknown, data: Uint8Array) => resolve(String(data)), error: reject };
      Bun.connect({ unix, socket: events }).catch(reject);
    });
  expect(await withSocket(socket, connect)).toBe("heard");
  for (const make of [
    () => symlinkSync(socket, path),
    () => linkSync(socket, path),
    () => mkdirSync(path),
    () => writeFileSync(path, ""),
    () => Bun.spawnSync(["mkfifo", path]),
  ]) {
    make();
    await expect(withSocket(path, connect)).rejects.toMatchObject({
      code: "NOT_A_SOCKET",
      message: expect.stringContaining(path),
    });
    rmSync(path, { recursive: true });
  }
  await expect(withSocket(path, connect)).rejects.toMatchObject({ code: "ENOENT" });
});

test("what hinders on the way to a socket, and what connecting to it says, is passed on", async () => {
  await expect(withSocket(join(secret, "socket"), async () => {})).rejects.toMatchObject({ code: "ENOTDIR" });
  const socket = join(top, "other.sock");
  await listenAt(socket);
  const full = Object.assign(new Error("too many open files"), { code: "EMFILE" });
  await expect(withSocket(socket, () => Promise.reject(full))).rejects.toBe(full);
});

test("a signal is for the process that is meant, not for who has its number now", async () => {
  const child = Bun.spawn(["sleep", "1000"]);
  const who = identify(child.pid)!;
  signalProcess({ ...who, start: String(BigInt(who.start) - 1n) }, "SIGKILL");
  signalProcess({ ...who, start: String(BigInt(who.start) + 1n) }, "SIGKILL");
  await Bun.sleep(50);
  expect(child.exitCode ?? child.signalCode).toBeNull();
  signalProcess(who, "SIGKILL");
  await child.exited;
  expect(child.signalCode).toBe("SIGKILL");
  signalProcess(who, "SIGKILL"); // nobody is there
});
