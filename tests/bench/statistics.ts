/** What a benchmark makes of its samples. */

/** The middle one; of an even number, the mean of the two in the middle. Throws RangeError on no samples. */
export function median(samples: readonly number[]): number {
  return (quantile(samples, 0.5) + quantile(samples, 0.5, "upper")) / 2;
}

/** The sample at or below which the fraction `q` of them lies (nearest rank). Throws RangeError on no samples. */
export function quantile(samples: readonly number[], q: number, side: "lower" | "upper" = "lower"): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const rank = side === "lower" ? Math.ceil(q * sorted.length) - 1 : Math.floor(q * sorted.length);
  const value = sorted[Math.min(sorted.length - 1, Math.max(0, rank))];
  if (value === undefined) throw new RangeError("no samples");
  return value;
}
