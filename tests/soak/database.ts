/** A SQLite database in a share, written by this machine and a sandbox at once: nothing may be lost, nothing damaged. */
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, Capsa, MountMode, sandbox } from "../../src/index.ts";

const WRITER = join(import.meta.dirname, "database.py");
const PREPARE = `
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.executescript("create table total (n); insert into total values (0); create table entry (n, name, turn, pad)")
`;
const CHECK = `
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
print(database.execute("pragma integrity_check").fetchone()[0])
for row in database.execute("select name, count(*), max(turn) + 1 from entry group by name order by name"): print(*row)
print(database.execute("select n from total").fetchone()[0])
`;

/** What is printed where all is well. */
export const wellWritten = (each: number) => `ok\nguest ${each} ${each}\nhost ${each} ${each}\n${2 * each}\n`;

async function python(...args: readonly string[]): Promise<string> {
  const child = Bun.spawn(["python3", ...args], { stdout: "pipe", stderr: "pipe" });
  const [output, errors, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (code !== 0) throw new Error(`python3 ended with ${code}: ${errors}`);
  return output;
}

/** `each` transactions by either in `shared`, which the sandbox has at `guest`; returns what the database holds then. */
export async function database(agent: Agent, shared: string, guest: string, each: number): Promise<string> {
  const path = join(shared, "data.db");
  copyFileSync(WRITER, join(shared, "database.py"));
  await python("-c", PREPARE, path);
  const [, { ok, stderr }] = await Promise.all([
    python(WRITER, path, "host", String(each)),
    agent.exec(["python3", `${guest}/database.py`, `${guest}/data.db`, "guest", String(each)], {
      timeoutMs: 3_600_000,
    }),
  ]);
  if (!ok) throw new Error(`the guest's writer failed: ${stderr}`);
  return python("-c", CHECK, path);
}

/** The same with a sandbox of its own. */
export async function databaseAlone(each: number): Promise<string> {
  const shared = mkdtempSync(join(tmpdir(), "capsa-database-"));
  try {
    const draft = Capsa.sandbox().rootfs("host").share(shared, "/shared", MountMode.ReadWrite);
    await using vm = await draft.run("/bin/sleep", ["infinity"]).build();
    await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
    return await database(agent, shared, "/shared", each);
  } finally {
    rmSync(shared, { recursive: true });
  }
}
