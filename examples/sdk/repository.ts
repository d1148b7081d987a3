/** An agent that mends a repository: the directory stays as it is until its tests pass, and is given what the agent wrote. */
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Capsa } from "capsa";

/** The model: what the tests said, and how to read a file; gives files to write. */
type Ask = (said: string, read: (path: string) => Promise<string>) => Promise<Record<string, string>>;
const limits = { memoryMb: 256, pids: 100 };
const most = { stderr: "stdout", maxOutput: 65_536, onLimit: "kill", timeoutMs: 60_000, limits } as const;

async function mend(directory: string, test: string, ask: Ask, rounds = 5) {
  const shares = [{ host: directory, guest: "/project", mode: "transaction" }] as const;
  await using box = await Capsa.open({ rootfs: "host", shares });
  const written = new Set<string>();
  for (let round = 0; round < rounds; round++) {
    const { ok, stdout } = await box.exec(test, { ...most, cwd: "/project" });
    if (ok) {
      console.log(await box.diff([...written]));
      return await box.apply([...written]); // not what the tests themselves have left
    }
    const files = await ask(stdout, (path) => box.readTextFile(`/project/${path}`));
    for (const [path, text] of Object.entries(files)) {
      await box.writeFile(`/project/${path}`, text, { parents: true });
      written.add(`/project/${path}`);
    }
  }
  throw new Error(`the tests fail after ${rounds} rounds`);
}

const directory = process.argv[2] ?? (await mkdtemp(join(tmpdir(), "repository-")));
await writeFile(join(directory, "sum.py"), "def add(a, b):\n    return a - b\n");
const model: Ask = async (_, read) => ({ "sum.py": (await read("sum.py")).replace("-", "+") }); // ask yours here
const test = "python3 -c 'import sum; assert sum.add(2, 2) == 4'";
const { applied, refused } = await mend(directory, test, model);
console.log(`${applied.length} applied to ${directory}, ${refused.length} refused`);
