/** What an example may name without having made it. A name added here can be used by every example. */
import { cpSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Agent,
  type AgentProcess,
  Capsa,
  MountMode,
  NetworkMode,
  type RawVm,
  type RunningSandbox,
  type SandboxPool,
  type SandboxSpec,
  sandbox,
  type VsockListener,
  type VsockSocket,
} from "../../src/index.ts";
import { ROOT } from "./blocks.ts";

/** Of all pages but those of raw VMs. */
export interface Context {
  /** Called "web", with this machine's /usr and a network; a server is at its port 8000. */
  readonly vm: RunningSandbox;
  /** A connection of the example's own. */
  readonly agent: Agent;
  /** That of the agent. */
  readonly socket: VsockSocket;
  /** A program that prints two lines and ends. */
  readonly child: AgentProcess;
  /** A process in the background that is about to listen. */
  readonly id: number;
  /** Of a sandbox that is not running. */
  readonly spec: SandboxSpec;
  readonly sink: { write(chunk: Uint8Array): void };
  /** There for those that are compiled only. */
  readonly pool: SandboxPool;
}

/** Of {@link RAW_PAGES}, whose examples are compiled only: tests/sandbox/raw.test.ts makes the same calls. */
export interface RawContext {
  readonly vm: RawVm;
  readonly listener: VsockListener;
}

export const RAW_PAGES: ReadonlySet<string> = new Set(
  ["RawVm", "VmConsole", "VsockListener"].map((name) => `docs/api/interfaces/${name}.md`),
);

/** The sandbox that examples share; /project in it begins as the directory of that name below the working directory. */
export async function boot(): Promise<RunningSandbox> {
  const vm = await Capsa.sandbox()
    .name("web")
    .rootfs("host")
    .network(NetworkMode.UserNat({ allow: [] }))
    .share("./project", "/project", MountMode.Transaction)
    .run("/bin/sleep", ["infinity"])
    .build();
  await using agent = await connect(vm);
  await furnish(agent);
  return vm;
}

function connect(vm: RunningSandbox): Promise<Agent> {
  return sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
}

/** The files and programs of the guest that examples name. */
async function furnish(agent: Agent): Promise<void> {
  for (const name of ["report.txt", "report.tmp", "plot.png", "video.mp4", "done"])
    await agent.writeFile(`/output/${name}`, name, { parents: true });
  await agent.writeFile("/output/report.pdf", "%PDF");
  await agent.symlink("/project", "/app");
  await agent.mkdir("/srv", { recursive: true });
  await agent.mkdir("/data", { recursive: true });
  await agent.writeFile("/usr/local/bin/server", "#!/bin/sh\necho listening\nexec sleep 1000\n", {
    mode: 0o755,
    parents: true,
  });
  const web = await agent.spawn(["python3", "-um", "http.server", "8000"], { detach: true });
  await using server = await agent.attachProcess(web.id);
  for await (const line of server.stdout.lines()) if (line.includes("Serving")) break;
}

/** The files of this machine that examples name, into `place`; small ones, where those of `examples` take their time. */
export function furnishHost(place: string): void {
  for (const name of ["project", "generated", "output", "artifacts"]) mkdirSync(join(place, name));
  cpSync(join(ROOT, "examples/build/src"), join(place, "src"), { recursive: true });
  writeFileSync(join(place, "big.bin"), Buffer.alloc(1 << 20, "capsa"));
  writeFileSync(join(place, "id.json"), "{}");
  writeFileSync(join(place, "project/script.py"), "print(sum(map(len, open('/project/readings.csv'))))\n");
  writeFileSync(join(place, "project/readings.csv"), "time,value,state\n0,1,ok\n");
  writeFileSync(join(place, "generated/answer.py"), "open('/output/answer.json', 'w').write('{}')\n");
}

/** The names of `wanted`, made for one example. Disposing of `stack` ends what ends with it. */
export async function provide(
  vm: RunningSandbox,
  wanted: readonly string[],
  stack: AsyncDisposableStack,
): Promise<Partial<Context>> {
  const agent = stack.use(await connect(vm));
  if (wanted.includes("vm")) await change(agent);
  const make: Record<keyof Context, () => unknown> = {
    vm: () => vm,
    agent: () => agent,
    socket: () => vm.vsockSocket(sandbox.agentPort()),
    child: async () => stack.use(await agent.spawn("echo one; echo two")),
    id: async () => (await agent.spawn(["server"], { detach: true })).id,
    spec: () => Capsa.sandbox().run("/bin/sleep", ["infinity"]).spec(),
    sink: () => ({ write() {} }),
    pool: () => undefined,
  };
  const made = wanted.map(async (name) => [name, await make[name as keyof Context]()] as const);
  return Object.fromEntries(await Promise.all(made));
}

/** Something of a transactional share that has changed, whatever the example before did about it. */
async function change(agent: Agent): Promise<void> {
  for (const name of ["src/main.py", "build/main.o", "node_modules/index.js"])
    await agent.writeFile(`/project/${name}`, crypto.randomUUID(), { parents: true });
}

/** The names that there are, for those who read examples as text. */
export const NAMES: readonly (keyof Context)[] = [
  "vm",
  "agent",
  "socket",
  "child",
  "id",
  "spec",
  "sink",
  "pool",
];
export const RAW_NAMES: readonly (keyof RawContext)[] = ["vm", "listener"];
