/** Shells and commands of a sandbox in a user's terminal, and processes that are left running in one. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { capsa, MAIN, ownRuntimeDirectory, scratch } from "../unit/cli/capsa.ts";
import { Tmux } from "./tmux.ts";

const name = `term-${process.pid}`;
const CAPSA = `${process.execPath} ${MAIN}`;

beforeAll(async () => {
  await using dir = await scratch();
  await writeFile(join(dir.path, "capsa.toml"), `[sandbox.${name}]\nmemory = "128M"\n`);
  const { exitCode, stderr } = await capsa(["up", "-d"], { cwd: dir.path });
  if (exitCode !== 0) throw new Error(stderr);
});
afterAll(() => capsa(["down", name]));
ownRuntimeDirectory(); // its check comes after that

/** The modes of the terminal before and after what `use` did in it have to be the same, to the last. */
async function unchanged(tmux: Tmux, use: () => Promise<void>): Promise<void> {
  const modes = async (label: string) => {
    tmux.line(`clear; stty -a >${label} && echo "modes ${label}"`);
    await tmux.until(new RegExp(`^modes ${label}$`, "m"));
    return readFile(join(tmux.directory, label), "utf8");
  };
  const before = await modes("before");
  await use();
  expect(await modes("after")).toBe(before);
}

/** Run capsa in front, its process id in the file `pid`, its exit code on the screen. */
function run(tmux: Tmux, args: string): void {
  tmux.line(`clear; sh -c 'echo $$ >pid; exec ${CAPSA} ${args}'; echo "code: $?"`);
}
const pidIn = async (tmux: Tmux) => Number(await readFile(join(tmux.directory, "pid"), "utf8"));

describe("a terminal", () => {
  test("has a shell in it, with its size, its TERM and job control, and is given back", async () => {
    using tmux = new Tmux(111, 33);
    await unchanged(tmux, async () => {
      run(tmux, "shell");
      await tmux.until(/#$/m);
      tmux.line("stty size; echo $TERM; tty");
      await tmux.until(/^33 111\n(tmux|screen).*\n\/dev\/pts\/\d+$/m);
      tmux.line(`clear; sh -c 'trap "echo back" CONT; echo front; while :; do sleep 0.1; done'`);
      await tmux.until(/^front$/m);
      tmux.press("C-z");
      await tmux.until("Stopped");
      tmux.line("fg");
      await tmux.until(/^back$/m);
      tmux.press("C-c");
      tmux.line("echo $((6 * 7)) and on; exit 5");
      expect(await tmux.until("code: 5")).toContain("42 and on");
    });
  });

  test("passes on its size, and Ctrl-C to the command alone", async () => {
    using tmux = new Tmux();
    await unchanged(tmux, async () => {
      const script = `trap "stty size" WINCH; trap "echo caught; exit 9" INT; echo set; while :; do sleep 0.1; done`;
      await writeFile(join(tmux.directory, "script"), script);
      run(tmux, `exec -it ${name} -- sh -c "$(cat script)"`);
      await tmux.until(/^set$/m);
      tmux.resize(77, 22);
      await tmux.until(/^22 77$/m);
      tmux.resize(100, 30);
      await tmux.until(/^30 100$/m);
      tmux.press("C-c");
      expect(await tmux.until("code: 9")).toContain("caught");
    });
  });

  test("may be drawn on, all of it: vi edits a file", async () => {
    using tmux = new Tmux(80, 24);
    await unchanged(tmux, async () => {
      run(tmux, `exec -t ${name} -- vi /tmp/edited`);
      const screen = await tmux.until(/^- \/tmp\/edited/m);
      // line ends are the program's own: every tilde is in the first column
      expect(screen.match(/^~$/gm)).toHaveLength(22);
      tmux.type("isome text");
      await tmux.until(/^some text$/m);
      tmux.press("Escape");
      await tmux.until(/^- \/tmp\/edited/m); // it takes keys that follow at once for a part of this one
      tmux.line(":wq");
      await tmux.until("code: 0");
    });
    expect((await capsa(["exec", name, "--", "cat", "/tmp/edited"])).stdout).toBe("some text\n");
  });

  test.each([
    ["SIGTERM", 143],
    ["SIGHUP", 129],
  ] as const)("is given back by %s, which hangs up on the command", async (signal, code) => {
    using tmux = new Tmux();
    await unchanged(tmux, async () => {
      run(
        tmux,
        `exec -it ${name} -- sh -c "trap 'echo gone >/tmp/${signal}; exit' HUP; echo set; while :; do sleep 0.1; done"`.replaceAll(
          "'",
          `'"'"'`,
        ),
      );
      await tmux.until(/^set$/m);
      process.kill(await pidIn(tmux), signal);
      await tmux.until(`code: ${code}`);
    });
    const told = `until [ -e /tmp/${signal} ]; do sleep 0.1; done; cat /tmp/${signal}`;
    expect((await capsa(["exec", "--timeout", "30s", name, "--", "sh", "-c", told])).stdout).toBe("gone\n");
  });

  test("is given back when there is no such command or user", async () => {
    using tmux = new Tmux();
    await unchanged(tmux, async () => {
      run(tmux, `exec -it ${name} -- nosuch`);
      expect(await tmux.until("code: 127")).toMatch(/^capsa: exec nosuch: nosuch: not found in PATH/m);
      run(tmux, `shell -u nosuch`);
      expect(await tmux.until("code: 125")).toMatch(
        /^capsa: .*user "nosuch": not in the sandbox's \/etc\/passwd/m,
      );
    });
  });

  test("is given back when the sandbox dies", async () => {
    await using dir = await scratch();
    await writeFile(join(dir.path, "capsa.toml"), `[sandbox.${name}-2]\nmemory = "128M"\n`);
    expect((await capsa(["up", "-d"], { cwd: dir.path })).exitCode).toBe(0);
    using tmux = new Tmux();
    await unchanged(tmux, async () => {
      run(tmux, "shell");
      // two run: it has to be told which
      expect(await tmux.until("code: 2")).toContain("several sandboxes are running");
      run(tmux, `shell ${name}-2`);
      await tmux.until(/#$/m);
      await capsa(["down", "--grace", "0ms", `${name}-2`]);
      expect(await tmux.until("code: 125")).toMatch(/^capsa: lost the sandbox's agent/m);
    });
  });
});

describe("a process left running", () => {
  const detach = async (args: string[], script: string) => {
    const { exitCode, stdout, stderr } = await capsa(["exec", "-d", ...args, name, "--", "sh", "-c", script]);
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
    expect(stdout).toMatch(/^\d+\n$/);
    return stdout.trim();
  };

  test("goes on, is listed, and tells what it printed, until its end", async () => {
    const script =
      ": \u009b31m\u202e; echo one; echo two >&2; until [ -e /tmp/go ]; do sleep 0.05; done; echo three; exit 4";
    const id = await detach([], script);
    expect((await capsa(["ps", name])).stdout).toMatch(
      new RegExp(
        `^ID +PID +STATE +STARTED +COMMAND\n[sS]*^${id} +\\d+ +running +\\d+ s +sh -c ": \\\\u009b31m\\\\u202e; echo one;`,
        "m",
      ),
    );
    await capsa(["exec", name, "--", "touch", "/tmp/go"]);
    const attached = await capsa(["exec", "--attach", id, name]);
    expect(attached).toEqual({ exitCode: 4, stdout: "one\nthree\n", stderr: "two\n" });
    expect((await capsa(["ps", name])).stdout).toMatch(new RegExp(`^${id} .* exited with 4 `, "m"));
    const { stdout } = await capsa(["ps", "--json", name]);
    expect(stdout).not.toMatch(/[\u009b\u202e]/);
    const entries = JSON.parse(stdout);
    expect(entries.find((entry: { id: number }) => entry.id === Number(id))).toMatchObject({
      argv: ["sh", "-c", script],
      status: { exitCode: 4, oomKilled: false },
    });
  });

  test("is not ended by Ctrl-C of who looks on", async () => {
    const id = await detach([], "echo begun; sleep 1000");
    using tmux = new Tmux();
    run(tmux, `exec ${name} --attach ${id}`);
    await tmux.until("begun");
    tmux.press("C-c");
    await tmux.until("code: 130");
    expect((await capsa(["ps", name])).stdout).toMatch(new RegExp(`^${id} .* running `, "m"));
  });

  test("reads from who attaches with -i", async () => {
    const id = await detach(["-i"], "cat; echo end");
    expect((await capsa(["exec", "-i", "--attach", id, name], { stdin: "piped\n" })).stdout).toBe(
      "piped\nend\n",
    );
  });

  test("may have a terminal, which is left with Ctrl-] and found again", async () => {
    const id = await detach(["-t"], "echo begun; exec sh");
    using tmux = new Tmux();
    await unchanged(tmux, async () => {
      run(tmux, `exec -it ${name} --attach ${id}`);
      await tmux.until(/begun[\s\S]*#$/);
      tmux.line("stty size; A=kept");
      // the shell's prompt asks the terminal where the cursor is: what answers goes to whom it then belongs to
      await tmux.until(/30 100\n.*#$/);
      tmux.press("C-]");
      await tmux.until("code: 0");
      run(tmux, `exec -it ${name} --attach ${id}`);
      await tmux.until(/A=kept[\s\S]*#$/);
      tmux.line("echo still $A; exit 3");
      expect(await tmux.until("code: 3")).toContain("still kept");
    });
  });

  test("one that is not known, or has no terminal, is told", async () => {
    const unknown = await capsa(["exec", name, "--attach", "4711"]);
    expect(unknown.stderr).toBe(
      `capsa: no process 4711 is known in ${name}\n  \`capsa ps ${name}\` lists them\n`,
    );
    expect(unknown.exitCode).toBe(125);
    const id = await detach([], "true");
    using tmux = new Tmux();
    run(tmux, `exec -it ${name} --attach ${id}`);
    expect(await tmux.until("code: 2")).toContain(`process ${id} has no terminal`);
  });

  test("what wants more memory than it may have is killed, and told", async () => {
    const { exitCode, stderr } = await capsa([
      "exec",
      "--memory",
      "16M",
      "--pids",
      "20",
      name,
      "--",
      "sh",
      "-c",
      `awk 'BEGIN { for (s = "x"; length(s) < 64 * 1024 * 1024; ) s = s s }'`,
    ]);
    expect(stderr).toContain("capsa: killed: it wanted more memory than --memory gives it");
    expect(exitCode).toBe(137);
  });
});
