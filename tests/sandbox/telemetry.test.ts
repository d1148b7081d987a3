/** Spans of a sandbox as an SDK of OpenTelemetry gets them. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { context, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { type Agent, Capsa, type RunningSandbox, sandbox } from "../../src/index.ts";
import { runSteps } from "../../src/steps/run.ts";

const exporter = new InMemorySpanExporter();
let vm: RunningSandbox;
let agent: Agent;
let boot: ReadableSpan[];

beforeAll(async () => {
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  vm = await Capsa.sandbox().memoryMb(128).run("/bin/sleep", ["100000"]).build();
  agent = await sandbox.waitReady(vm.vsockSocket(sandbox.agentPort()));
  boot = finished();
});
afterAll(async () => {
  await agent?.close();
  await vm?.kill();
  trace.disable(); // other files of tests run in this process
  context.disable();
});

/** What has ended since the last call. */
function finished(): ReadableSpan[] {
  const spans = [...exporter.getFinishedSpans()];
  exporter.reset();
  return spans;
}

const ms = ([seconds, nanoseconds]: [number, number]) => seconds * 1e3 + nanoseconds / 1e6;

test("a boot has its parts as children, one after the other within it", () => {
  const whole = boot.find(({ name }) => name === "boot")!;
  const parts = boot.filter((span) => span.parentSpanContext?.spanId === whole.spanContext().spanId);
  expect(boot.length).toBe(parts.length + 1);
  expect(whole.attributes).toMatchObject({ "capsa.sandbox.id": vm.id, "capsa.engine": vm.engine });
  expect(whole.instrumentationScope.name).toBe("capsa");
  expect(parts.map(({ name }) => name)).toEqual(
    ["spawn", "kernel", "init", "mounts", "agent"].map((name) => `boot ${name}`),
  );
  expect(ms(parts[0]!.startTime)).toBeCloseTo(ms(whole.startTime), 0);
  for (const [index, { startTime }] of parts.entries())
    if (index > 0) expect(ms(startTime)).toBeCloseTo(ms(parts[index - 1]!.endTime), 0);
  expect(whole.status.code).toBe(SpanStatusCode.UNSET);
});

test("a program and a file, with what the conventions say of them, and no secrets", async () => {
  const secret = "s3cret";
  await agent.exec(`echo ${secret}; exit 3`, { env: { SECRET: secret } });
  await agent.exec(["/bin/true"]);
  await agent.exec(["/bin/sleep", "1000"], { timeoutMs: 50 });
  await agent.writeFile("/tmp/file", secret);
  await agent.readFile("/none").catch(() => {});
  await agent.exec(["/none"]).catch(() => {});
  await agent.info();
  const spans = finished();
  const told = spans.map(({ name, attributes, status: { code } }) => [name, code, attributes]);
  const common = { "capsa.sandbox.id": vm.id };
  const program = (name: string) => ({
    ...common,
    "process.executable.name": name,
    "process.pid": expect.any(Number),
  });
  expect(told).toEqual([
    ["sh", SpanStatusCode.ERROR, { ...program("sh"), "process.exit.code": 3, "error.type": "exit_code" }],
    ["true", SpanStatusCode.UNSET, { ...program("true"), "process.exit.code": 0 }],
    [
      "sleep",
      SpanStatusCode.ERROR,
      { ...program("sleep"), "capsa.process.signal": 9, "error.type": "timeout" },
    ],
    ["writeFile", SpanStatusCode.UNSET, { ...common, "capsa.op": "write_file", "file.path": "/tmp/file" }],
    [
      "readFile",
      SpanStatusCode.ERROR,
      { ...common, "capsa.op": "read_file", "file.path": "/none", "error.type": "ENOENT" },
    ],
    ["none", SpanStatusCode.ERROR, { ...common, "process.executable.name": "none", "error.type": "ENOENT" }],
  ]);
  expect(spans.every(({ kind }) => kind === SpanKind.CLIENT)).toBe(true);
  expect(JSON.stringify(told)).not.toContain(secret);
});

test("a step is below the caller's span, and what it does below the step", async () => {
  const step = { name: "secret", sandbox: "box", timeoutMs: 10_000, line: 7, verb: "exec" } as const;
  const fails = { ...step, argv: ["/bin/false"], env: {}, expect: { exitCode: 0 } } as const;
  const tracer = trace.getTracer("test");
  await tracer.startActiveSpan("mine", async (mine) => {
    await runSteps([fails], new Map([["box", agent]]));
    mine.end();
  });
  const [program, own, mine] = finished();
  expect([program!.name, own!.name, mine!.name]).toEqual(["false", "step exec", "mine"]);
  expect(program!.parentSpanContext?.spanId).toBe(own!.spanContext().spanId);
  expect(own!.parentSpanContext?.spanId).toBe(mine!.spanContext().spanId);
  expect(own!.attributes).toEqual({
    "capsa.sandbox.name": "box",
    "code.line.number": 7,
    "error.type": "expectation",
  });
});

test("a boot that fails says why", async () => {
  await expect(Capsa.sandbox().name(vm.name).run("/bin/true").build()).rejects.toThrow("running already");
  const [told] = finished();
  expect(told).toMatchObject({
    name: "boot",
    status: { code: SpanStatusCode.ERROR, message: expect.stringContaining("running already") },
    attributes: { "error.type": "NAME_IN_USE" },
  });
});

test("without an SDK its API is not even loaded", async () => {
  const script = `
    const { Capsa } = await import("./src/index.ts");
    const { record } = await import("./src/host/telemetry.ts");
    if (record("x", () => { throw new Error("asked for attributes"); }) !== undefined) process.exit(1);
    const loaded = Object.keys(require.cache).filter((path) => path.includes("@opentelemetry"));
    console.log(typeof Capsa.sandbox, loaded.length);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "inherit" });
  expect(await child.stdout.text()).toBe("function 0\n");
});
