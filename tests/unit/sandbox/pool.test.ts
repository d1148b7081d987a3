/** The pool's promises, with sandboxes that are none: who is served when, and what becomes of failures. */
import { expect, test } from "bun:test";
import { ArgumentError } from "../../../src/errors/errors.ts";
import type { RunningSandbox, SandboxExit } from "../../../src/sandbox/api.ts";
import { Pool } from "../../../src/sandbox/pool.ts";

/** As a pool has them. */
type Waiting = RunningSandbox & { begin(): void };

/** Starts when the test says so. */
class Nursery {
  readonly starting: { finish: () => Fake; fail: (error: Error) => void }[] = [];
  count = 0;

  readonly start = (signal: AbortSignal): Promise<Waiting> => {
    const { promise, resolve, reject } = Promise.withResolvers<Waiting>();
    const name = `vm-${++this.count}`;
    const entry = {
      finish: () => {
        const vm = new Fake(name);
        resolve(vm as unknown as Waiting);
        return vm;
      },
      fail: reject,
    };
    this.starting.push(entry);
    signal.addEventListener("abort", () => reject(signal.reason));
    return promise;
  };

  /** All that start now, and what their success starts in turn, until nothing does. */
  async settle(): Promise<void> {
    for (;;) {
      for (const { finish } of this.starting.splice(0)) finish();
      await turn();
      if (this.starting.length === 0) return;
    }
  }
}

class Fake {
  readonly name: string;
  readonly exited: Promise<SandboxExit>;
  killed = false;
  holds = true;
  begun = 0;
  end!: (reason: SandboxExit["reason"]) => void;

  constructor(name: string) {
    this.name = name;
    this.exited = new Promise((resolve) => {
      this.end = (reason) => resolve({ reason, exitCode: null, signal: null });
    });
  }

  async kill(): Promise<void> {
    this.killed = true;
    this.end("stopped");
  }

  begin(): void {
    this.begun++;
  }

  ref(): void {
    this.holds = true;
  }

  unref(): void {
    this.holds = false;
  }
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test("it is filled in the background, and filled again for each that is taken", async () => {
  const nursery = new Nursery();
  await using pool = new Pool(3, nursery.start);
  expect(nursery.starting.length).toBeLessThanOrEqual(3);
  expect(pool.tryReserve()).toBeUndefined();
  await nursery.settle();
  expect(pool.ready).toBe(3);
  const taken = [pool.tryReserve(), await pool.reserve()];
  expect(taken.map((vm) => vm?.name)).toEqual(["vm-1", "vm-2"]);
  expect(pool.ready).toBe(1);
  await nursery.settle();
  expect({ ready: pool.ready, started: nursery.count }).toEqual({ ready: 3, started: 5 });
});

test("who waits is served in turn, and who leaves is not missed", async () => {
  const nursery = new Nursery();
  await using pool = new Pool(1, nursery.start);
  const order: string[] = [];
  const abort = new AbortController();
  const wait = (who: string, signal?: AbortSignal) =>
    pool.reserve(signal === undefined ? {} : { signal }).then((vm) => order.push(`${who} ${vm.name}`));
  const leaver = wait("leaver", abort.signal);
  const others = [wait("first"), wait("second")];
  abort.abort(new Error("no time"));
  await expect(leaver).rejects.toThrow("no time");
  await nursery.settle();
  await Promise.all(others);
  expect(order).toEqual(["first vm-1", "second vm-2"]);
  expect(pool.ready).toBe(1);
  await expect(pool.reserve({ signal: AbortSignal.abort(new Error("before")) })).rejects.toThrow("before");
});

test("one too many, as who waited for it has left, is ended", async () => {
  const nursery = new Nursery();
  await using pool = new Pool(1, nursery.start);
  nursery.starting.shift()!.finish();
  await turn();
  pool.tryReserve();
  const abort = new AbortController();
  const waits = [1, 2, 3].map(() => pool.reserve({ signal: abort.signal }).catch(() => {}));
  const started = [...nursery.starting];
  abort.abort();
  await Promise.all(waits);
  const made = started.map(({ finish }) => finish());
  await turn();
  expect(pool.ready).toBe(1);
  expect(made.filter(({ killed }) => killed)).toHaveLength(made.length - 1);
});

test("a start that fails is told once, and tried again ever later until somebody has one", async () => {
  const nursery = new Nursery();
  const told: [string, number][] = [];
  const { promise: thrice, resolve } = Promise.withResolvers<void>();
  await using pool = new Pool(1, nursery.start, ({ message }, retryMs) => {
    told.push([message, retryMs]);
    if (told.length === 3) resolve();
  });
  const waiting = pool.reserve();
  const failing = setInterval(() => {
    for (const { fail } of nursery.starting.splice(0)) fail(new Error("no kernel"));
  }, 1);
  await thrice;
  clearInterval(failing);
  expect(told).toEqual([
    ["no kernel", 200],
    ["no kernel", 400],
    ["no kernel", 800],
  ]);
  expect(pool.failure?.message).toBe("no kernel");
  while (nursery.starting.length === 0) await Bun.sleep(5);
  await nursery.settle();
  expect(await waiting).toMatchObject({ name: expect.stringMatching(/^vm-/) });
  expect(pool.failure).toBeUndefined();
});

test("one that ends before it is taken is told, and replaced", async () => {
  const nursery = new Nursery();
  const told: string[] = [];
  await using pool = new Pool(1, nursery.start, ({ message }) => told.push(message));
  const first = nursery.starting.shift()!.finish();
  await turn();
  first.end("main");
  await turn();
  expect(pool.ready).toBe(0);
  expect(told).toEqual(["vm-1 ended (main) before it was reserved"]);
  while (nursery.starting.length === 0) await Bun.sleep(5);
  nursery.starting.shift()!.finish();
  await turn();
  expect(pool.ready).toBe(1);
});

test("closing it ends what nobody has, and nothing else", async () => {
  const nursery = new Nursery();
  const pool = new Pool(2, nursery.start);
  await nursery.settle();
  const mine = (await pool.reserve()) as unknown as Fake;
  const waits = [pool.reserve(), pool.reserve(), pool.reserve()];
  const outcomes = Promise.allSettled(waits);
  await pool.close();
  expect(mine.killed).toBe(false);
  const [first, ...rest] = await outcomes;
  expect(first).toMatchObject({ status: "fulfilled" });
  for (const outcome of rest)
    expect(outcome).toMatchObject({ status: "rejected", reason: { code: "POOL_CLOSED" } });
  expect(() => pool.tryReserve()).toThrow("closed");
  await expect(pool.reserve()).rejects.toMatchObject({ code: "POOL_CLOSED" });
});

test("what is no size is refused", () => {
  for (const size of [0, -1, 1.5, Number.NaN])
    expect(() => new Pool(size, new Nursery().start)).toThrow(ArgumentError);
});

test("one that lets the program end has none that is ready hold it; who reserves one is its owner", async () => {
  const nursery = new Nursery();
  await using pool = new Pool(2, nursery.start);
  const made = nursery.starting.splice(0).map(({ finish }) => finish());
  await turn();
  expect(made.map(({ holds }) => holds)).toEqual([true, true]);
  pool.unref();
  expect(made.map(({ holds }) => holds)).toEqual([false, false]);
  const taken = (await pool.reserve()) as unknown as Fake;
  expect(taken.holds).toBe(true);
  const next = nursery.starting.splice(0).map(({ finish }) => finish());
  await turn();
  expect(next.map(({ holds }) => holds)).toEqual([false]);
  pool.ref();
  expect([...made, ...next].every(({ holds }) => holds)).toBe(true);
});

test("the time of one begins with whoever has it, waited for or not", async () => {
  const nursery = new Nursery();
  await using pool = new Pool(1, nursery.start);
  const waiting = pool.reserve();
  const made = nursery.starting.splice(0).map(({ finish }) => finish());
  const taken = (await waiting) as unknown as Fake;
  expect(made.map(({ begun }) => begun)).toEqual(made.map((one) => (one === taken ? 1 : 0)));
  await nursery.settle();
  expect(((await pool.reserve()) as unknown as Fake).begun).toBe(1);
});
