/** What a benchmark says: rows of measurements, as a table for people and JSON for programs. */

export interface Row {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  /** The same thing done by the peer, in the same run; null where there is no peer. */
  readonly peer: number | null;
  /** ours / peer. */
  readonly ratio: number | null;
  /** What the ratio should be: `<= 1.3`, `>= 1.0`; null: a figure without a goal. */
  readonly goal: string | null;
  readonly met: boolean | null;
}

/** Make a row; `ratio` and `met` follow from the rest. */
export function row(
  name: string,
  unit: string,
  ours: number,
  peer: number | null = null,
  goal: string | null = null,
): Row {
  const ratio = peer === null ? null : ours / peer;
  return {
    name,
    unit,
    ours,
    peer,
    ratio,
    goal,
    met: goal === null || ratio === null ? null : meets(ratio, goal),
  };
}

function meets(ratio: number, goal: string): boolean {
  const [operator, bound] = goal.split(" ");
  if (operator === "<=") return ratio <= Number(bound);
  if (operator === ">=") return ratio >= Number(bound);
  throw new RangeError(`a goal is "<= N" or ">= N", not "${goal}"`);
}

/** The rows as an aligned table. */
export function table(rows: readonly Row[]): string {
  const head = ["what", "unit", "capsa", "peer", "ratio", "goal", "met"];
  const cells = rows.map((r) => [
    r.name,
    r.unit,
    figure(r.ours),
    r.peer === null ? "" : figure(r.peer),
    r.ratio === null ? "" : r.ratio.toFixed(2),
    r.goal ?? "",
    r.met === null ? "" : r.met ? "yes" : "NO",
  ]);
  const widths = head.map((title, column) =>
    Math.max(title.length, ...cells.map((line) => line[column]!.length)),
  );
  const line = (texts: readonly string[]) =>
    texts
      .map((text, i) => (i < 2 || i > 4 ? text.padEnd(widths[i]!) : text.padStart(widths[i]!)))
      .join("  ")
      .trimEnd();
  return [line(head), widths.map((width) => "-".repeat(width)).join("  "), ...cells.map(line)].join("\n");
}

function figure(value: number): string {
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}
