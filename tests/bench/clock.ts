/** Milliseconds that `action` takes. */
export async function timed(action: () => Promise<unknown>): Promise<number> {
  const start = Bun.nanoseconds();
  await action();
  return (Bun.nanoseconds() - start) / 1e6;
}
