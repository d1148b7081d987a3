/** How long the shortest program takes, asked for over a connection that is open. */
import { Capsa, sandbox } from "../../../src/index.ts";
import { timed } from "../clock.ts";
import { type Row, row } from "../report.ts";
import { quantile } from "../statistics.ts";

const rounds = 100;

export async function exec(): Promise<Row[]> {
  await using vm = await Capsa.sandbox().memoryMb(256).run("/bin/sleep", ["infinity"]).build();
  await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  const samples: number[] = [];
  const pings: number[] = [];
  for (let round = 0; round < rounds; round++) {
    samples.push(await timed(() => agent.exec(["/bin/true"])));
    pings.push(await timed(() => agent.ping()));
  }
  return [
    row("exec true, round trip, median", "ms", quantile(samples, 0.5)),
    row("exec true, round trip, 95th percentile", "ms", quantile(samples, 0.95)),
    row("ping, round trip, median", "ms", quantile(pings, 0.5)),
  ];
}
