/** Arguments that no call of the public API is made for, and what has to become of each: a value, or a CapsaError. */
import { expect } from "bun:test";
import { CapsaError } from "../../src/index.ts";

const LONG = "/".padEnd(1_100_000, "x");
const ABORTED = AbortSignal.abort(new Error("the caller's own reason"));

/** Made anew each time: what has been used once is not what it was. */
export const NASTY: readonly (() => unknown)[] = [
  ...[undefined, null, true, 0, -1, 1.5, 2 ** 31, 2 ** 53, 1e300, Number.NaN, Number.NEGATIVE_INFINITY, 10n],
  ...["", "\0", "/a\0b", "\ud800", "/\udfffx", "relative", LONG, Symbol("symbol"), ABORTED],
  ...[
    [],
    [""],
    [null],
    ["a", "\0"],
    Array(20).fill("x".repeat(100_000)),
    Array(70_000).fill(LONG.slice(0, 20)),
  ],
  ...[{}, { a: LONG }, { "": "x" }, { "a=b": "c" }, { a: 5 }, new Date(Number.NaN), new Map(), () => {}],
]
  .map((value) => () => value as unknown)
  .concat([
    () => Object.create(null),
    () => new Uint8Array(4096),
    () => new ReadableStream({ start: (controller) => controller.error(new Error("broken")) }),
    () => new Proxy({}, { get: thrower, ownKeys: thrower, has: thrower }),
    () => {
      const { proxy, revoke } = Proxy.revocable([], {});
      revoke();
      return proxy;
    },
  ]);

function thrower(): never {
  throw new Error("of the caller's own");
}

/** Members that some call takes. Each is given each of {@link NASTY}, and one whose getter throws. */
const OPTIONS = [
  ...[
    "signal",
    "timeoutMs",
    "graceMs",
    "env",
    "clearEnv",
    "cwd",
    "user",
    "group",
    "stdin",
    "limits",
    "pty",
    "window",
  ],
  ...[
    "maxOutput",
    "onStdout",
    "detach",
    "replay",
    "offset",
    "length",
    "mode",
    "parents",
    "append",
    "recursive",
  ],
  ...[
    "attributes",
    "maxBytes",
    "onSkip",
    "followSymlinks",
    "force",
    "dot",
    "host",
    "port",
    "path",
    "guestPort",
  ],
  ...[
    "onFailure",
    "command",
    "ownership",
    "protect",
    "cache",
    "from",
    "hosts",
    "header",
    "name",
    "scope",
    "spec",
  ],
];

/** Argument lists: one after the other of `good` replaced, members of the last as options, and some at random. */
export function* argumentLists(good: readonly unknown[], random: () => number): Generator<unknown[]> {
  for (const make of NASTY) {
    for (let at = 0; at <= good.length; at++) yield [...good.slice(0, at), make(), ...good.slice(at + 1)];
    for (const key of OPTIONS) if (random() < 0.1) yield [...good, { [key]: make() }];
  }
  for (const key of OPTIONS)
    yield [...good, Object.defineProperty({}, key, { get: thrower, enumerable: true })];
  const any = () => NASTY[Math.floor(random() * NASTY.length)]!();
  for (let count = 0; count < 20; count++) yield Array.from({ length: 1 + Math.floor(random() * 4) }, any);
}

/** A generator of numbers from 0 to 1 (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Makes the call, and takes from what it gives what can be had of it. Fails by what leaves it and should not. */
export async function survives(name: string, call: () => unknown): Promise<void> {
  try {
    await Promise.race([
      used(call),
      Bun.sleep(20_000).then(() => Promise.reject(new Error("it never ends"))),
    ]);
  } catch (error) {
    if (error === ABORTED.reason) return;
    if (!(error instanceof CapsaError))
      throw new Error(`${name} threw what is no CapsaError`, { cause: error });
    expect(error.code).toMatch(/^[A-Z][A-Z0-9_]+$/);
    expect(error.message.length).toBeLessThan(20_000);
  }
}

async function used(call: () => unknown): Promise<void> {
  const result = await call();
  if (result instanceof ReadableStream) {
    const reader = result.getReader();
    await Promise.race([reader.read(), Bun.sleep(50)]).finally(() => reader.cancel());
  }
  if (typeof result !== "object" || result === null) return;
  const one = result as { ready?: Promise<void>; next?(): Promise<unknown> } & Partial<AsyncDisposable>;
  if (one.next !== undefined) await Promise.race([one.ready ?? one.next(), Bun.sleep(50)]);
  if (one.ready !== undefined || one.next === undefined) await one[Symbol.asyncDispose]?.();
}

/** Names of the calls of an object, its class's too. */
export function callsOf(object: object): string[] {
  const all = [object, Object.getPrototypeOf(object) as object].filter((one) => one !== Object.prototype);
  const names = all.flatMap((one) => Object.entries(Object.getOwnPropertyDescriptors(one)));
  return names.flatMap(([name, { value }]) =>
    typeof value === "function" && name !== "constructor" ? [name] : [],
  );
}

/**
 * Makes each call of `object` with all that is nasty. `good`: arguments that a call takes, so that each of them is looked at
 * by itself. Every call is made, also one that is not in `good`; but for those that `but` names. `part`: of
 * the argument lists, where a call takes its time.
 */
export async function fuzz(
  object: object,
  good: Readonly<Record<string, readonly unknown[]>>,
  options: { seed: number; but?: readonly string[]; part?: number },
): Promise<void> {
  const random = seeded(options.seed);
  for (const name of callsOf(object)) {
    if (options.but?.includes(name)) continue;
    const call = (object as Record<string, (...args: unknown[]) => unknown>)[name]!;
    for (const args of argumentLists(good[name] ?? [], random))
      if (random() < (options.part ?? 1)) await survives(name, () => call.apply(object, args));
  }
}
