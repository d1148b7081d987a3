/** Twenty sandboxes, booted at once. */
import { Capsa } from "../../../src/index.ts";
import { timed } from "../clock.ts";
import { type Row, row } from "../report.ts";
import { median } from "../statistics.ts";

const count = 20;

export async function many(): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const each: number[] = [];
  const all = await timed(() =>
    Promise.all(
      Array.from({ length: count }, async () => {
        const vm = await Capsa.sandbox()
          .memoryMb(128)
          .bootTimeout(300_000)
          .run("/bin/sleep", ["infinity"])
          .build();
        stack.use(vm);
        each.push((await vm.ready).totalMs);
      }),
    ),
  );
  return [
    row(`${count} sandboxes at once, all ready`, "ms", all),
    row(`${count} sandboxes at once, median of them`, "ms", median(each)),
  ];
}
