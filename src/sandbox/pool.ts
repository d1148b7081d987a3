/** Sandboxes that are ready before they are asked for. */

import { checkOptions, named } from "../errors/check.ts";
import { guardMethods } from "../errors/edge.ts";
import { ArgumentError, CapsaError } from "../errors/errors.ts";
import { validateSpec } from "../spec/sandbox.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import type { RunningSandbox, SandboxExit, StartOptions } from "./api.ts";
import type { RunnableSandbox } from "./builder.ts";
import { madeUpName } from "./name.ts";
import { untilReady } from "./open.ts";
import { endOf } from "./ready.ts";
import { startChecked } from "./start.ts";

const FIRST_RETRY_MS = 200;
const LAST_RETRY_MS = 30_000;
/** Of a name, so that there is room for what makes it the only one. */
const NAME_LENGTH = 23;

export interface PoolOptions extends Pick<StartOptions, "onNotice" | "onRefusal"> {
  /** Called when a sandbox fails to start or ends unreserved. `retryMs`: time until the next try. */
  readonly onFailure?: (error: Error, retryMs: number) => void;
}

/**
 * Keeps sandboxes ready, each for one use. Disposing of the pool ends those that nobody has reserved.
 * @example
 * ```ts no_run
 * await using pool = Capsa.pool(Capsa.sandbox().rootfs("host"), 4);
 * await using vm = await pool.reserve(); // this caller's alone; the next one starts meanwhile
 * console.log((await vm.exec("uname -a")).stdout);
 * ```
 */
export interface SandboxPool extends AsyncDisposable {
  /** How many it keeps ready. */
  readonly size: number;
  /** How many are ready now. */
  readonly ready: number;
  /** Why the last start failed; undefined after one has succeeded again. */
  readonly failure: Error | undefined;

  /**
   * Take a ready sandbox, or wait for one; whoever waits longest is served first. The caller owns it and ends it. The pool
   * starts another one. The sandbox's `ttl` and `idleTimeout` begin at that moment. A failed start is tried again,
   * so pass a signal to limit the wait. Rejects with the signal's reason, or with `CapsaError` `POOL_CLOSED`.
   * @example
   * ```ts no_run
   * await using vm = await pool.reserve({ signal: AbortSignal.timeout(10_000) });
   * ```
   */
  reserve(options?: { readonly signal?: AbortSignal }): Promise<RunningSandbox>;

  /**
   * Take a ready sandbox, or undefined if there is none. Throws `CapsaError` `POOL_CLOSED`.
   * @example
   * ```ts no_run
   * await using vm = pool.tryReserve() ?? (await Capsa.sandbox().run("/bin/sleep", ["60"]).build());
   * ```
   */
  tryReserve(): RunningSandbox | undefined;

  /**
   * End the ready sandboxes and those that start. Resolves when all have ended.
   * @example
   * ```ts no_run
   * await pool.close();
   * ```
   */
  close(): Promise<void>;

  /**
   * Let the program end while there is a pool, once there is nothing else to wait for: what the pool has ends with it. A
   * start that is under way is waited for. A reserved sandbox holds the program again, until its own `unref`.
   * @example
   * ```ts no_run
   * pool.unref();
   * ```
   */
  unref(): void;

  /**
   * The opposite of {@link unref}, as it is from the start: the program goes on until the pool is closed.
   * @example
   * ```ts no_run
   * pool.ref();
   * ```
   */
  ref(): void;
}

const POOL_OPTIONS = named<PoolOptions>(2, { onFailure: true, onNotice: true, onRefusal: true }).names;

/** As `Capsa.pool`. */
export function sandboxPool(sandbox: RunnableSandbox, size: number, options: PoolOptions): SandboxPool {
  checkOptions("Capsa.pool", options, POOL_OPTIONS);
  const { onFailure, ...start } = options;
  const spec = sandbox.spec();
  validateSpec(spec);
  const kind = spec.name.slice(0, NAME_LENGTH).replace(/-+$/, "");
  const startOne = async (signal: AbortSignal) => {
    const its = renamed(spec, madeUpName(kind));
    validateSpec(its); // this machine may be another by now
    return untilReady(await startChecked(its, { ...start, signal, waits: true }), its, signal);
  };
  return new Pool(size, startOne, onFailure);
}

/** On private networks, too. */
function renamed(spec: SandboxSpec, name: string): SandboxSpec {
  if (spec.networks === undefined) return { ...spec, name };
  return { ...spec, name, networks: spec.networks.map((network) => ({ ...network, as: name })) };
}

/** One whose time has not begun. */
interface Waiting extends RunningSandbox {
  begin(): void;
}

interface Waiter {
  readonly take: (vm: RunningSandbox) => void;
  readonly reject: (reason: unknown) => void;
}

export class Pool implements SandboxPool {
  readonly size: number;
  failure: Error | undefined;
  readonly #start: (signal: AbortSignal) => Promise<Waiting>;
  readonly #onFailure: PoolOptions["onFailure"];
  readonly #closing = new AbortController();
  readonly #ready = new Set<Waiting>(); // the oldest first
  readonly #waiters = new Set<Waiter>();
  readonly #starting = new Set<Promise<void>>();
  #retryMs = FIRST_RETRY_MS;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #holds = true;

  /** `start` makes one whose agent listens; aborting its signal ends that. Throws `ArgumentError` for what is no size. */
  constructor(
    size: number,
    start: (signal: AbortSignal) => Promise<Waiting>,
    onFailure?: PoolOptions["onFailure"],
  ) {
    if (!Number.isInteger(size) || size < 1)
      throw new ArgumentError(`a pool's size must be a whole number of at least 1, not ${size}`);
    this.size = size;
    this.#start = start;
    this.#onFailure = onFailure;
    this.#refill();
  }

  get ready(): number {
    return this.#ready.size;
  }

  tryReserve(): RunningSandbox | undefined {
    if (this.#closing.signal.aborted) throw closed();
    const [vm] = this.#ready;
    if (vm === undefined) return undefined;
    this.#ready.delete(vm);
    vm.ref();
    vm.begin();
    this.#retryMs = FIRST_RETRY_MS;
    this.#refill();
    return vm;
  }

  async reserve({ signal }: { readonly signal?: AbortSignal } = {}): Promise<RunningSandbox> {
    signal?.throwIfAborted();
    const vm = this.tryReserve();
    if (vm !== undefined) return vm;
    const { promise, resolve, reject } = Promise.withResolvers<RunningSandbox>();
    const waiter = { take: resolve, reject };
    const abort = () => {
      this.#waiters.delete(waiter);
      reject(signal?.reason);
    };
    signal?.addEventListener("abort", abort, { once: true });
    this.#waiters.add(waiter);
    this.#keepProgram();
    this.#refill();
    return promise.finally(() => signal?.removeEventListener("abort", abort));
  }

  async close(): Promise<void> {
    this.#closing.abort(closed());
    clearTimeout(this.#retry);
    for (const { reject } of this.#waiters) reject(closed());
    this.#waiters.clear();
    await Promise.all([...this.#starting, ...[...this.#ready].map((vm) => vm.kill())]);
    this.#ready.clear();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  ref(): void {
    this.#holds = true;
    this.#keepProgram();
  }

  unref(): void {
    this.#holds = false;
    this.#keepProgram();
  }

  /** Whoever waits for one is waited for. */
  #keepProgram(): void {
    for (const vm of this.#ready) {
      if (this.#holds) vm.ref();
      else vm.unref();
    }
    if (this.#holds || this.#waiters.size > 0) this.#retry?.ref();
    else this.#retry?.unref();
  }

  /** Start what is missing, a processor's worth at a time: more at once would only make each of them late. */
  #refill(): void {
    if (this.#closing.signal.aborted || this.#retry !== undefined) return;
    const wanted = this.size + this.#waiters.size - this.#ready.size;
    const atOnce = Math.min(wanted, Math.max(1, navigator.hardwareConcurrency));
    while (this.#starting.size < atOnce) {
      const work: Promise<void> = this.#add().finally(() => {
        this.#starting.delete(work);
        this.#refill();
      });
      this.#starting.add(work);
    }
  }

  /** Never rejects. */
  async #add(): Promise<void> {
    try {
      const vm = await this.#start(this.#closing.signal);
      this.failure = undefined;
      // nobody has it any more, or who waited for it has left
      const surplus = this.#waiters.size === 0 && this.#ready.size >= this.size;
      if (this.#closing.signal.aborted || surplus) await vm.kill();
      else this.#offer(vm);
    } catch (error) {
      if (!this.#closing.signal.aborted) this.#fail(error as Error);
    }
  }

  #offer(vm: Waiting): void {
    const [waiter] = this.#waiters;
    if (waiter !== undefined) {
      this.#waiters.delete(waiter);
      this.#retryMs = FIRST_RETRY_MS;
      vm.begin();
      waiter.take(vm);
      return;
    }
    this.#ready.add(vm);
    this.#keepProgram();
    void vm.exited.then((exit) => {
      if (!this.#ready.delete(vm) || this.#closing.signal.aborted) return;
      this.#fail(exit.failure === undefined ? unreserved(vm, exit) : endOf(vm, exit));
    });
  }

  #fail(error: Error): void {
    this.failure = error;
    if (this.#retry !== undefined) return; // one that was started together with the last that failed
    const delay = this.#retryMs;
    this.#retryMs = Math.min(delay * 2, LAST_RETRY_MS);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#refill();
    }, delay);
    this.#keepProgram();
    this.#onFailure?.(error, delay);
  }
}

guardMethods(Pool.prototype, { reserve: named<{ readonly signal?: AbortSignal }>(0, { signal: true }) });

function unreserved({ name }: RunningSandbox, { reason }: SandboxExit): CapsaError {
  return new CapsaError("SANDBOX_ENDED", `${name} ended (${reason}) before it was reserved`);
}

function closed(): CapsaError {
  return new CapsaError("POOL_CLOSED", "the pool of sandboxes is closed");
}
