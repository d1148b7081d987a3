/** Somebody on this machine who edits files in a directory that a sandbox has, while the sandbox is at work beside them. */
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface Neighbour {
  /** After the last time. */
  stop(): Promise<void>;
}

/** Time and again, with so many milliseconds between. */
export function overAndOver(pauseMs: number, work: () => unknown): Neighbour {
  let over = false;
  const all = (async () => {
    while (!over) {
      await work();
      await Bun.sleep(pauseMs);
    }
  })();
  all.catch(() => {}); // told by stop()
  return {
    stop: () => {
      over = true;
      return all;
    },
  };
}

/** Work that comes to an end by itself. */
export function once(work: Promise<void>): Neighbour {
  work.catch(() => {}); // told by stop()
  return { stop: () => work };
}

/** Saves, adds, removes and moves in `directory`, all below names that begin with "host". */
export function neighbour(directory: string): Neighbour {
  let turn = 0;
  const pick = (most: number) => Math.floor(Math.random() * most);
  const at = (name: number) => join(directory, `host${name}`);
  const edits = [
    () => {
      writeFileSync(join(directory, "host.saving"), `saved ${turn}\n`.repeat(pick(500)));
      rmSync(at(pick(4)), { recursive: true, force: true });
      renameSync(join(directory, "host.saving"), at(4 + pick(4)));
    },
    () => writeFileSync(at(4 + pick(4)), `written ${turn}\n`),
    () => rmSync(at(4 + pick(4)), { force: true }),
    () => {
      const tree = at(pick(4));
      mkdirSync(join(tree, "a/b"), { recursive: true });
      writeFileSync(join(tree, "a/b", `f${pick(3)}`), `${turn}`);
    },
    () => {
      const [some] = readdirSync(directory).filter((name) => /^host[0-3]$/.test(name));
      if (some === undefined) return;
      rmSync(at(3), { recursive: true, force: true });
      if (some !== "host3") renameSync(join(directory, some), at(3));
    },
  ];
  return overAndOver(3, () => {
    edits[pick(edits.length)]!();
    turn++;
  });
}
