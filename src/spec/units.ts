/** Units of sizes, times and rates as people write them, read into the numbers that the rest of the program uses; and times as people read them. */

/** Bytes. */
export const MIB = 2 ** 20;

export interface Unit {
  /** What a text of it looks like. */
  readonly pattern: string;
  readonly parse: (text: string) => number | undefined;
  readonly show: (value: number) => string;
  /** What a plain number counts. */
  readonly counts: string;
}

export const MEBIBYTES: Unit = {
  pattern: "^[0-9]+[MG]$",
  parse: parseMemory,
  show: (mb) => (mb % 1024 === 0 ? `${mb / 1024}G` : `${mb}M`),
  counts: "MiB",
};

export const BYTES: Unit = {
  pattern: "^[0-9]+[KMG]$",
  parse: parseSize,
  show: (bytes) => largest(bytes, Object.entries(BINARY)),
  counts: "bytes",
};

export const TIME: Unit = {
  pattern: "^[0-9]+(\\.[0-9]+)?(ms|s|m|h)$",
  parse: parseDuration,
  show: (ms) =>
    ms > 3_600_000 ? `${Math.floor(ms / 3_600_000)}h` : largest(ms, Object.entries(MILLISECONDS)),
  counts: "milliseconds",
};

export const BANDWIDTH: Unit = {
  pattern: "^[0-9]+(\\.[0-9]+)?(kbit|Mbit|Gbit|kB|MB|GB)$",
  parse: parseBandwidth,
  show: (rate) =>
    largest(rate, [
      ["kbit", RATES.kbit],
      ["GB", RATES.GB],
    ]),
  counts: "bytes per second",
};

/** In the largest unit of which it is a whole number; `units` from the smallest on. */
function largest(value: number, units: [name: string, size: number][]): string {
  const [name, size] = units.findLast(([, size]) => value % size === 0) ?? ["", 1];
  return `${value / size}${name}`;
}

const MILLISECONDS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

/** Duration such as "500ms", "30s", "1.5m", "1h" in milliseconds, or undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)$/.exec(text);
  if (!match) return undefined;
  return Math.round(Number(match[1]) * MILLISECONDS[match[2] as keyof typeof MILLISECONDS]);
}

/** Milliseconds as "85 ms", "3.21 s" or "2 min 05 s". */
export function formatDuration(ms: number): string {
  if (ms < 999.5) return `${Math.round(ms)} ms`;
  if (ms < 59_995) return `${(ms / 1000).toFixed(2)} s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, "0")} s`;
}

const RATES = { kbit: 125, Mbit: 125_000, Gbit: 125_000_000, kB: 1000, MB: 1_000_000, GB: 1e9 } as const;

/** Bits ("10Mbit") or bytes ("1.5MB"), of a second, in bytes, or undefined for anything else. */
export function parseBandwidth(text: string): number | undefined {
  const match = /^([0-9]+(?:\.[0-9]+)?)(kbit|Mbit|Gbit|kB|MB|GB)$/.exec(text);
  if (!match) return undefined;
  return Math.round(Number(match[1]) * RATES[match[2] as keyof typeof RATES]);
}

/** Size such as "512M" or "2G" in MiB, or undefined for anything else. */
export function parseMemory(text: string): number | undefined {
  const match = /^([0-9]+)([MG])$/.exec(text);
  if (!match) return undefined;
  return Number(match[1]) * (match[2] === "G" ? 1024 : 1);
}

const BINARY = { K: 2 ** 10, M: MIB, G: 2 ** 30 } as const;

/** Size such as "64K", "512M" or "2G" in bytes, or undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const match = /^([0-9]+)([KMG])$/.exec(text);
  return match ? Number(match[1]) * BINARY[match[2] as keyof typeof BINARY] : undefined;
}
