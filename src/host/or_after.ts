/** Waiting for something, but not for ever. */

/** As `promise`, or undefined after `ms`. No timer is left, which would keep the process from ending. */
export function orAfter<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const { promise: late, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(resolve, ms, undefined);
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}
