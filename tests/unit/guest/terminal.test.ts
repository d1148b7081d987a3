/** exec with a terminal: what the program sees of it, its size, its keys, and what goes when the line is cut. */

import { describe, expect, test } from "bun:test";
import type { Frame } from "./agent.ts";
import { gone } from "./processes.ts";
import { agent, host, serve } from "./served.ts";

serve();

const pty = { columns: 132, rows: 43 };
const open = (script: string, fields: Frame = {}) =>
  host.request("exec", { argv: ["sh", "-c", script], pty, ...fields });
const text = (id: number) => host.payload(id, "stdout").toString();
const seen = (id: number, wanted: string) => host.find(() => text(id).includes(wanted));
const type = (id: number, keys: string) =>
  host.send({ id, ev: "stdin", data: new Uint8Array(Buffer.from(keys)) });

describe("a terminal", () => {
  test("is the program's own: all three streams, controlling, of the size wanted, with a TERM", async () => {
    const id = open(
      "tty; test -t 0 -a -t 1 -a -t 2 && echo all; stty size; echo $TERM; : </dev/tty && ps -o tpgid= $$ && echo $$ >&2",
    );
    expect(await host.drain(id)).toMatchObject({ ok: true, exitCode: 0 });
    const [name, all, size, term, foreground, pid] = text(id).split("\r\n");
    expect(name).toMatch(/^\/dev\/pts\/\d+$/);
    expect([all, size, term]).toEqual(["all", "43 132", "xterm"]);
    expect(foreground!.trim()).toBe(pid!);
    expect(host.payload(id, "stderr").length).toBe(0);
  });

  test("has the TERM that is asked for", async () => {
    const id = open("echo $TERM", { env: { TERM: "vt100" } });
    await host.drain(id);
    expect(text(id)).toBe("vt100\r\n");
  });

  test("belongs to the program's user", async () => {
    const id = open("stat -c %u $(tty); echo x >$(tty)", { user: 1234 });
    expect(await host.drain(id)).toMatchObject({ exitCode: 0 });
    expect(text(id)).toBe("1234\r\nx\r\n");
  });

  test("takes keys: Ctrl-C interrupts, Ctrl-D ends input, and so does the end of stdin", async () => {
    const id = open(
      "trap 'echo caught; s=1' INT; echo ready; while [ -z \"$s\" ]; do sleep 0.05; done; cat; cat; echo over",
    );
    await seen(id, "ready");
    type(id, "\x03");
    await seen(id, "caught");
    type(id, "line\r\x04");
    await host.find(() => text(id).split("line").length === 3);
    host.send({ id, ev: "stdin-end" });
    expect(await host.drain(id)).toMatchObject({ exitCode: 0 });
    expect(text(id)).toEndWith("over\r\n");
  });

  test("changes its size, and tells those in front of it", async () => {
    const id = open("trap 'stty size; exit 7' WINCH; echo ready; while :; do sleep 0.05; done");
    await seen(id, "ready");
    host.send({ id, ev: "resize", columns: 65535, rows: 1 });
    expect(await host.drain(id)).toMatchObject({ exitCode: 7 });
    expect(text(id)).toContain("1 65535");
  });

  test("gives its last byte, however much, and however late the host takes it", async () => {
    const id = open("stty -opost; seq 100000; sleep 3 & exit 4", { window: 4096 });
    await seen(id, "1\n");
    await Bun.sleep(300);
    expect(await host.drain(id)).toMatchObject({ exitCode: 4 });
    expect(text(id)).toBe(`${Array.from({ length: 100_000 }, (_, i) => i + 1).join("\n")}\n`);
  });

  test("is no end of the program when it closes it and opens it again", async () => {
    const id = open("exec <&- >&- 2>&-; sleep 0.2; exec >/dev/tty; echo back");
    expect(await host.drain(id)).toMatchObject({ exitCode: 0 });
    expect(text(id)).toBe("back\r\n");
  });
});

describe("a terminal whose line is cut", () => {
  test("hangs up: the program may put things in order", async () => {
    const path = `${agent.directory}/order`;
    const id = open(`trap 'echo in order >${path}; exit' HUP; echo $$; while :; do sleep 0.05; done`);
    await seen(id, "\n");
    host.close();
    expect(await gone(Number(text(id)))).toBe(true);
    expect(await Bun.file(path).text()).toBe("in order\n");
  });

  test("and kills one that pays no heed", async () => {
    const id = open("trap '' HUP; echo $$; while :; do sleep 0.05; done");
    await seen(id, "\n");
    const pid = Number(text(id));
    host.close();
    expect(await gone(pid, 1000)).toBe(true);
  });
});

describe("a host that asks for what cannot be", () => {
  test.each([
    ["no columns", { columns: 0, rows: 0 }],
    ["no rows", { columns: 80 }],
    ["too many", { columns: 65536, rows: 24 }],
    ["a number", 80],
    ["text", { columns: "80", rows: "24" }],
  ])("%s: is told", async (_what, size) => {
    const id = host.request("exec", { argv: ["true"], pty: size });
    expect(await host.response(id)).toMatchObject({ ok: false, error: { code: "EPROTO" } });
  });

  test("resizing to nothing ends the call and its program", async () => {
    const id = open("echo $$; sleep 60");
    await seen(id, "\n");
    const pid = Number(text(id));
    host.send({ id, ev: "resize", columns: 0, rows: 0 });
    expect(await host.response(id)).toMatchObject({ ok: false, error: { code: "EPROTO" } });
    expect(await gone(pid)).toBe(true);
  });

  test("resizing what has no terminal, or is dead, changes nothing", async () => {
    const plain = host.request("exec", { argv: ["cat"], stdin: true });
    host.send({ id: plain, ev: "resize", columns: 10, rows: 10 });
    host.send({ id: plain, ev: "stdin-end" });
    expect(await host.drain(plain)).toMatchObject({ exitCode: 0 });
    const dead = open("true");
    await host.drain(dead);
    for (let i = 0; i < 100; i++) host.send({ id: dead, ev: "resize", columns: 1 + i, rows: 1 });
    // ended, but not over: what it left behind holds the terminal
    const ended = open("sleep 60 & echo $!; exit 3");
    await seen(ended, "\n");
    const left = Number(text(ended));
    while (!host.frames.some((frame) => frame.id === ended && "ok" in frame)) {
      host.send({ id: ended, ev: "resize", columns: 7, rows: 7 });
      type(ended, "x");
      await Bun.sleep(1);
    }
    expect(await host.response(ended)).toMatchObject({ exitCode: 3 });
    process.kill(left);
  });

  test("50 terminals opened and dropped leave no descriptors", async () => {
    const before = await agent.descriptors();
    for (let i = 0; i < 50; i++) {
      const other = await agent.connect();
      const id = other.request("exec", { argv: ["cat"], pty });
      await other.find((frame) => frame.id === id && frame.ev === "started");
      other.close();
    }
    expect(await agent.comesDownTo(before)).toBe(true);
  });
});
