/** Short programs in one sandbox: thousands in a row, hundreds at once; each must come back as itself. */
import { Capsa, sandbox } from "../../src/index.ts";

export async function storm(inARow: number, atOnce: number): Promise<void> {
  await using vm = await Capsa.sandbox().memoryMb(512).run("/bin/sleep", ["infinity"]).build();
  await using agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  for (let n = 0; n < inARow; n++) {
    const { ok, stdoutBytes, stderrBytes } = await agent.exec(["/bin/true"]);
    if (!ok || stdoutBytes.length + stderrBytes.length > 0) throw new Error(`program ${n} was not true`);
  }
  const results = await Promise.all(
    Array.from({ length: atOnce }, (_, n) => agent.exec(`echo out ${n}; echo err ${n} >&2; exit ${n % 128}`)),
  );
  for (const [n, { exitCode, stdout, stderr }] of results.entries()) {
    if (exitCode !== n % 128 || stdout !== `out ${n}\n` || stderr !== `err ${n}\n`)
      throw new Error(`program ${n} of ${atOnce} came back with ${exitCode}, "${stdout}", "${stderr}"`);
  }
}
