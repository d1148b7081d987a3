/**
 * The proxy of one sandbox's secrets, a process of its own: it has their values, which are nowhere else while the sandbox
 * runs, and ends with the sandbox's VMM.
 */

import { printableLine } from "../../errors/printable.ts";
import { hideMemory } from "../../host/libc.ts";
import { makeAuthority } from "./authority.ts";
import { RefusalLog } from "./log.ts";
import { hostServer } from "./server.ts";
import { lines, type ProxyTask, type ProxyWord } from "./talk.ts";
import { agentMaker } from "./upstream.ts";

/** The same is told once in so long, and so many different things. */
const QUIET_MS = 10_000;
const MOST_TOLD = 100;

/** Nobody has to listen: who started the sandbox may have left it. */
function say(word: ProxyWord): void {
  process.stdout.write(`${JSON.stringify(word)}\n`);
}

process.stdout.on("error", () => {});

const told = new Map<string, number>();

function tellRefusal(log: RefusalLog, name: string, port: number, why: string): void {
  const now = performance.now();
  for (const [key, at] of told) if (now - at > QUIET_MS) told.delete(key);
  const key = `${name}:${port} ${why}`;
  if (told.has(key) || told.size >= MOST_TOLD) return;
  told.set(key, now);
  say({ refused: { name, port, why } });
  log.add(name, port, why);
}

async function serve({ services, log: path, ...task }: ProxyTask): Promise<void> {
  const log = new RefusalLog(path);
  const authority = await makeAuthority();
  const makeAgent = agentMaker(task);
  for (const { name, port, socket, secrets } of services) {
    const identity = await authority.issue(name);
    const onRefusal = (why: string) => tellRefusal(log, name, port, printableLine(why));
    const server = hostServer({ name, port, secrets, identity, makeAgent: () => makeAgent(name), onRefusal });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(socket, resolve);
    });
  }
  say({ ready: { authority: authority.certificate } });
}

/** The VMM ends the connection when it does, however it does. */
async function endWith(control: string): Promise<void> {
  await Bun.connect({ unix: control, socket: { data() {}, close: () => process.exit() } });
  say({ following: true });
}

// a connection may break in ways that nobody has thought of, which is no affair of the others
process.on("uncaughtException", () => {});

let following = false;
try {
  if (!hideMemory()) throw new Error("its memory cannot be closed to other programs of this user");
  let task: ProxyTask | undefined;
  for await (const line of lines(Bun.stdin.stream().getReader())) {
    if (task === undefined) {
      task = JSON.parse(line) as ProxyTask;
      await serve(task);
    } else {
      await endWith(task.control);
      following = true;
    }
  }
} catch (error) {
  say({ failed: (error as Error).message });
}
if (!following) process.exit(1); // who started it has gone, or there is nothing to serve
