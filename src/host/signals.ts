/** Linux's signals by name and number: the guest's, which on another host's system have other numbers. */

import { ArgumentError } from "../errors/errors.ts";
import { shown } from "../errors/printable.ts";

const NAMES = [
  ..."HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP".split(
    " ",
  ),
  ..."TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(" "),
];
const MAX_SIGNAL = 64;

/** `"SIGKILL"` for 9, `"SIG40"` for one without a name. */
export function signalName(number: number): string {
  return `SIG${NAMES[number - 1] ?? number}`;
}

/** As a shell tells an end: the exit code, or 128 + N for a process that signal N ended. */
export function shellStatus(ended: {
  readonly exitCode: number | null;
  readonly signal: string | null;
}): number {
  return ended.exitCode ?? 128 + (ended.signal === null ? 0 : signalNumber(ended.signal));
}

/** Number of `"SIGTERM"`, `"TERM"`, `"SIG40"` or 15. Throws `ArgumentError` for what is no signal. */
export function signalNumber(signal: string | number): number {
  const number = typeof signal === "string" ? numberOf(signal.toUpperCase().replace(/^SIG/, "")) : signal;
  if (!Number.isInteger(number) || number < 1 || number > MAX_SIGNAL) {
    throw new ArgumentError(
      `no signal is called ${shown(signal)}; give a name as "SIGTERM" or 1 to ${MAX_SIGNAL}`,
    );
  }
  return number;
}

function numberOf(name: string): number {
  return /^\d+$/.test(name) ? Number(name) : NAMES.indexOf(name) + 1;
}
