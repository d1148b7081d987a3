/** Processes in the background: what outlives its call, what is kept of it, and hosts that attach to anything. */

import { describe, expect, test } from "bun:test";
import { Agent, type Frame } from "./agent.ts";
import { alive, gone } from "./processes.ts";
import { agent, host, reconnect, serve } from "./served.ts";

serve();

async function detach(script: string, fields: Frame = {}): Promise<{ process: number; pid: number }> {
  const id = host.request("exec", { argv: ["sh", "-c", script], detach: true, ...fields });
  const response = await host.response(id);
  if (!response.ok) throw new Error(response.error.message);
  return { process: response.process, pid: response.pid };
}
const attach = (process: number, fields: Frame = {}) => host.request("attach", { process, ...fields });
const list = async (): Promise<Frame[]> => (await host.response(host.request("processes"))).processes;
const entry = async (process: number) => (await list()).find((one) => one.process === process);
async function over(process: number): Promise<Frame> {
  for (;;) {
    const found = await entry(process);
    if (!found?.running) return found!;
    await Bun.sleep(10);
  }
}
const text = (id: number, ev = "stdout") => host.payload(id, ev).toString();
const seen = (id: number, wanted: string) => host.find(() => text(id).includes(wanted));
const bytes = (input: string) => new Uint8Array(Buffer.from(input));

describe("a process in the background", () => {
  test("outlives its call and its connection, and is listed until its end and after", async () => {
    const { process: number, pid } = await detach("read line; exit 5", { stdin: true });
    await reconnect();
    expect(alive(pid)).toBe(true);
    const now = await entry(number);
    expect(now).toMatchObject({
      process: number,
      pid,
      argv: ["sh", "-c", "read line; exit 5"],
      running: true,
    });
    expect(Math.abs(now!.startedMs - Date.now())).toBeLessThan(60_000);
    expect(now).not.toHaveProperty("exitCode");
    const id = attach(number);
    expect(await host.find((frame) => frame.ev === "started")).toEqual({
      id,
      ev: "started",
      pid,
      stdin: true,
      pty: false,
    });
    host.send({ id, ev: "stdin", data: bytes("line\n") });
    expect(await host.drain(id)).toEqual({ id, ok: true, exitCode: 5, timedOut: false });
    expect(await entry(number)).toMatchObject({ running: false, exitCode: 5, timedOut: false });
  });

  test("has its last output replayed, both outputs in order, then goes on", async () => {
    const { process: number } = await detach("echo one; echo two >&2; echo three; read x; echo four", {
      stdin: true,
    });
    const first = attach(number);
    await seen(first, "three");
    host.send({ id: first, ev: "detach" });
    expect(await host.response(first)).toEqual({ id: first, ok: true });
    const second = attach(number);
    await seen(second, "three");
    expect(text(second)).toBe("one\nthree\n");
    expect(text(second, "stderr")).toBe("two\n");
    host.send({ id: second, ev: "stdin-end" });
    await host.drain(second);
    expect(text(second)).toBe("one\nthree\nfour\n");
    // of one that is over too, and as much as is asked for
    for (const [replay, wanted] of [
      [{}, "one\nthree\nfour\n"],
      [{ replay: 7 }, "e\nfour\n"],
      [{ replay: 0 }, ""],
    ] as const) {
      const id = attach(number, replay);
      expect(await host.drain(id)).toMatchObject({ exitCode: 0 });
      expect(text(id)).toBe(wanted);
    }
  });

  test("is not held up by having no reader, and the end of its output is kept", async () => {
    const { process: number } = await detach("seq 200000");
    await over(number);
    const id = attach(number, { window: 1000 });
    expect(await host.drain(id)).toMatchObject({ exitCode: 0 });
    const all = `${Array.from({ length: 200_000 }, (_, i) => i + 1).join("\n")}\n`;
    expect(all).toEndWith(text(id));
    expect(text(id).length).toBeGreaterThan(60_000);
    expect(text(id).length).toBeLessThanOrEqual(65_536);
  });

  test("loses nothing to a reader who takes its time", async () => {
    const { process: number } = await detach("read x; seq 200000", { stdin: true });
    const id = attach(number, { window: 5000 });
    host.send({ id, ev: "stdin-end" });
    await seen(id, "1\n");
    await Bun.sleep(100);
    await host.drain(id);
    expect(text(id)).toBe(`${Array.from({ length: 200_000 }, (_, i) => i + 1).join("\n")}\n`);
  });

  test("goes on when its reader goes without a word", async () => {
    const { process: number } = await detach("read x; seq 300000", { stdin: true });
    const id = attach(number, { window: 5000 });
    host.send({ id, ev: "stdin-end" });
    await seen(id, "1\n");
    await reconnect();
    expect(await over(number)).toMatchObject({ exitCode: 0 });
  });

  test("gets what its writer left, though it takes it late", async () => {
    const { process: number } = await detach("sleep 0.3; wc -c", { stdin: true });
    const id = attach(number, { window: 1_000_000 });
    host.send({ id, ev: "stdin", data: new Uint8Array(600_000) });
    host.send({ id, ev: "stdin-end" });
    host.send({ id, ev: "detach" });
    await host.response(id);
    await over(number);
    const again = attach(number);
    await host.drain(again);
    expect(text(again).trim()).toBe("600000");
  });

  test("may have a terminal, which stays when the line is cut", async () => {
    const { process: number } = await detach(
      "trap 'echo $(stty size)' WINCH; echo ready; while :; do sleep 0.05; done",
      {
        pty: { columns: 80, rows: 24 },
      },
    );
    attach(number);
    expect(await host.find((frame) => frame.ev === "started")).toMatchObject({ pty: true, stdin: true });
    await reconnect();
    expect(await entry(number)).toMatchObject({ running: true });
    const id = attach(number);
    await seen(id, "ready");
    host.send({ id, ev: "resize", columns: 99, rows: 11 });
    await seen(id, "11 99");
    host.send({ id, ev: "kill", signal: 9 });
    expect(await host.drain(id)).toMatchObject({ signal: 9 });
  });

  test("ends by its time limit, attached to or not", async () => {
    const { process: number } = await detach("sleep 60", { timeoutMs: 100 });
    expect(await over(number)).toMatchObject({ signal: 9, timedOut: true });
  });

  test("has one call at a time: the next one takes it over", async () => {
    const { process: number } = await detach("read x; echo $x", { stdin: true });
    const first = attach(number);
    const second = attach(number);
    expect(await host.response(first)).toMatchObject({ ok: false, error: { code: "ECANCELED" } });
    host.send({ id: first, ev: "stdin", data: bytes("no\n") });
    host.send({ id: second, ev: "stdin", data: bytes("yes\n") });
    expect(await host.drain(second)).toMatchObject({ exitCode: 0 });
    expect(text(second)).toBe("yes\n");
  });
});

describe("a host that asks for what cannot be", () => {
  test("attaching to what is not there is refused", async () => {
    for (const process of [0, 4711, 2 ** 40]) {
      expect(await host.response(attach(process))).toMatchObject({ ok: false, error: { code: "ESRCH" } });
    }
    for (const fields of [{}, { process: "1" }, { process: -1 }, { process: 1, replay: "all" }]) {
      expect(await host.response(host.request("attach", fields))).toMatchObject({
        ok: false,
        error: { code: "EPROTO" },
      });
    }
  });

  test("10,000 times attached and detached it is still the same", async () => {
    const { process: number } = await detach("head -c 5000 /dev/zero; read x; echo $x", { stdin: true });
    await seen(attach(number), "\0".repeat(5000));
    const before = await agent.descriptors();
    let last = 0;
    for (let i = 0; i < 10_000; i++) {
      last = attach(number, { replay: i % 7 });
      if (i % 2) host.send({ id: last, ev: "detach" });
      if (i % 100 === 99) await host.response(last);
    }
    host.frames.length = 0;
    const id = attach(number);
    host.send({ id, ev: "stdin", data: bytes("still\n") });
    expect(await host.drain(id)).toMatchObject({ exitCode: 0 });
    expect(text(id)).toEndWith("\0still\n");
    expect(await agent.comesDownTo(before)).toBe(true);
  }, 60_000);

  test("giving input that is not taken, again and again, is refused in the end", async () => {
    const { process: number } = await detach("sleep 60", { stdin: true });
    let refused: Frame | undefined;
    for (let i = 0; i < 20 && !refused; i++) {
      const id = attach(number, { window: 1_000_000 });
      host.send({ id, ev: "stdin", data: new Uint8Array(900_000) });
      host.send({ id, ev: "detach" });
      const response = await host.response(id);
      if (!response.ok) refused = response;
    }
    expect(refused).toMatchObject({ error: { code: "EAGAIN" } });
    const id = attach(number);
    host.send({ id, ev: "kill", signal: 9 });
    expect(await host.drain(id)).toMatchObject({ signal: 9 });
  });

  test("the last 64 that ended are known, however many there were, and whoever is attached", async () => {
    const numbers: number[] = [];
    for (let i = 0; i < 80; i++) {
      const { process: number } = await detach(`echo ${i}`);
      await over(number);
      numbers.push(number);
      attach(number, { window: 1 }); // says nothing of what it took: it stays
    }
    const known = (await list()).map(({ process }) => process);
    for (const number of numbers.slice(-50)) expect(known).toContain(number);
    await reconnect();
    const left = (await list()).map(({ process }) => process);
    expect(left.length).toBe(64);
    expect(left).toContain(numbers.at(-1));
    expect(left).toEqual(left.toSorted((one, other) => one - other));
  }, 60_000);

  test("256 run at once, each with the longest argv, and are told; one more is refused", async () => {
    const argv = ["sh", "-c", "read x", ...Array.from({ length: 600 }, () => "x")];
    const ids = Array.from({ length: 257 }, () => host.request("exec", { argv, detach: true, stdin: true }));
    const responses = await Promise.all(ids.map((id) => host.response(id)));
    expect(responses.filter(({ ok }) => ok)).toHaveLength(256);
    expect(responses.at(-1)).toMatchObject({ ok: false, error: { code: "EAGAIN" } });
    expect((await list()).filter(({ running }) => running)).toHaveLength(256);
    for (const { process: number, ok } of responses) {
      if (!ok) continue;
      const id = attach(number);
      host.send({ id, ev: "kill", signal: 9 });
      expect(await host.drain(id)).toMatchObject({ signal: 9 });
    }
  }, 60_000);

  test("one that cannot be started is no process", async () => {
    const before = (await list()).length;
    const id = host.request("exec", { argv: ["/no/such"], detach: true });
    expect(await host.response(id)).toMatchObject({ ok: false, error: { code: "ENOENT" } });
    expect((await list()).length).toBe(before);
  });
});

test("an agent that ends leaves none behind", async () => {
  const other = await Agent.start();
  const connection = await other.connect();
  const id = connection.request("exec", { argv: ["sleep", "60"], detach: true });
  const { pid } = await connection.response(id);
  other.process.kill("SIGKILL");
  await other.process.exited;
  expect(await gone(pid)).toBe(true);
  await other.stop().catch(() => {});
});
