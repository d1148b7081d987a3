/** The edge of the public API: what leaves it is a CapsaError with a code, or the reason of the caller's own signal. */

import { checkOptions, type Options } from "./check.ts";
import { ArgumentError, CapsaError, HostError } from "./errors.ts";
import { shown } from "./printable.ts";

type Call = (this: unknown, ...args: unknown[]) => unknown;

/** Has each method of `target`, a class's prototype or an object, keep to that, and to its `options` by its name. */
export function guardMethods<T extends object>(
  target: T,
  options: { readonly [Name in keyof T]?: Options } = {},
): T {
  for (const key of Reflect.ownKeys(target)) {
    const property = Object.getOwnPropertyDescriptor(target, key)!;
    if (typeof property.value !== "function" || key === "constructor") continue;
    const call = property.value as Call;
    const name = typeof key === "string" ? key : "dispose";
    const its = (options as Readonly<Record<string, Options | undefined>>)[name];
    const check = (args: readonly unknown[]) => {
      if (its !== undefined) checkOptions(name, args[its.at], its.names);
    };
    const isAsync = call.constructor.name === "AsyncFunction";
    const value: Call = function (...args) {
      return guard(name, args, () => {
        try {
          check(args);
        } catch (error) {
          if (isAsync) return Promise.reject(error);
          throw error;
        }
        return call.apply(this, args);
      });
    };
    Object.defineProperty(target, key, { ...property, value });
  }
  return target;
}

/** What `work` gives, which is the public call `name` with `args`. */
export function guard<T>(name: string, args: readonly unknown[], work: () => T): T {
  const fail = (error: unknown): never => {
    throw isReason(error, args) ? error : leaving(name, error);
  };
  try {
    const result = work();
    return result instanceof Promise ? (result.catch(fail) as T) : result;
  } catch (error) {
    return fail(error);
  }
}

/** Whether that is why a signal among the arguments, or their members, was aborted. */
function isReason(error: unknown, args: readonly unknown[]): boolean {
  return args.some((arg) => {
    try {
      const { signal } = (arg ?? {}) as { signal?: unknown };
      return signal instanceof AbortSignal && signal.aborted && signal.reason === error;
    } catch {
      return false; // a getter of the caller's, which throws
    }
  });
}

function leaving(name: string, cause: unknown): CapsaError {
  if (cause instanceof CapsaError) return cause;
  const { code } = (cause ?? {}) as { code?: unknown };
  const message = `${name}: ${cause instanceof Error ? cause.message : shown(cause)}`;
  if (typeof code === "string" && /^E[A-Z0-9]+$/.test(code)) return new HostError(code, message, { cause });
  return new ArgumentError(message, { cause });
}
