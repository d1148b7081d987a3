/** A code interpreter as a service: POST Python to it. Answers are lines of JSON: output as it comes, the end, the files. */
import { Capsa } from "capsa";

const pool = Capsa.pool(Capsa.sandbox().rootfs("host").ttl("10m"), 2, { onFailure: console.error });
const limits = { limits: { memoryMb: 256, pids: 64 }, timeoutMs: 10_000, maxOutput: 65_536 } as const;

async function interpret(code: string, tell: (event: object) => Promise<void>, signal: AbortSignal) {
  await using box = await pool.reserve({ signal });
  await box.writeFile("/work/main.py", code, { parents: true });
  const text = new TextDecoder();
  const onStdout = (chunk: Uint8Array) => tell({ stdout: text.decode(chunk, { stream: true }) });
  const options = { ...limits, cwd: "/work", onLimit: "kill", stderr: "stdout", signal, onStdout } as const;
  await tell(await box.exec(["python3", "-u", "main.py"], options));
  for (const { name, type, size } of await box.listDir("/work"))
    if (type === "file" && name !== "main.py" && size <= 1 << 20)
      await tell({ name, base64: Buffer.from(await box.readFile(`/work/${name}`)).toString("base64") });
}

async function answer(request: Request): Promise<Response> {
  const { readable, writable } = new TransformStream<string, string>();
  const writer = writable.getWriter();
  const tell = (event: object) => writer.write(`${JSON.stringify(event)}\n`);
  const work = interpret(await request.text(), tell, request.signal).catch((e) => tell({ error: e.message }));
  work.finally(() => writer.close()).catch(() => {}); // who asked may have gone
  return new Response(readable.pipeThrough(new TextEncoderStream()));
}
const server = Bun.serve({ port: Number(process.env.PORT ?? 8080), idleTimeout: 60, fetch: answer });
console.log(`listening on ${server.url}`);
