/** A row whose goal is a bound on the figure itself, not on its ratio to a peer's. */
import { type Row, row } from "../report.ts";

export function atMost(
  bound: number,
  name: string,
  unit: string,
  ours: number,
  peer: number | null = null,
): Row {
  return { ...row(name, unit, ours, peer), goal: `<= ${bound} ${unit}`, met: ours <= bound };
}
