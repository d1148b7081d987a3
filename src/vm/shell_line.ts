/** A command as lines to type to a POSIX shell, and its output found again among what the terminal shows. */

/** Shells and terminals take lines of this length without trouble. */
const MAX_PIECE = 512;
const MAX_OUTPUT = 16 << 20;

/**
 * The marks around the output are put together by the shell, of halves: the line that asks for them, which the terminal
 * echoes and may wrap anywhere, does not have them in it.
 */
interface ShellLines {
  /** Each but the last shows its mark when the shell has read it, and the next may be typed. */
  readonly lines: readonly { readonly text: string; readonly mark: string }[];
  readonly begin: string;
  readonly end: string;
}

export function shellLines(command: string, id: string): ShellLines {
  const mark = (word: string) => `capsa-${id}-${word}`;
  const show = (word: string, format: string, value = "") =>
    `printf '${format}\\n' capsa- '${id}-${word}'${value}`;
  const pieces = encode(command).match(new RegExp(`.{1,${MAX_PIECE}}`, "g")) ?? [""];
  const set = pieces.map((piece, index) => ` _capsa=${index === 0 ? "" : "$_capsa"}'${piece}'`);
  // A shell that is interrupted drops the rest of its line, unless it has a trap
  const run = `eval "$(printf %b "$_capsa")"`;
  const whole = `trap : INT; ${show("begin", "%s%s")}; ${run}; ${show("end", "\\n%s%s %d", " $?")}; trap - INT`;
  const lines = set.map((text, index) =>
    index === set.length - 1
      ? { text: `${text}; ${whole}`, mark: "" }
      : { text: `${text}; ${show(String(index), "%s%s")}`, mark: mark(String(index)) },
  );
  return { lines, begin: mark("begin"), end: mark("end") };
}

/** For printf's %b: all but plain characters as octal numbers, so that no shell and no terminal sees more in them. */
function encode(command: string): string {
  return [...Buffer.from(command)]
    .map((byte) => {
      const character = String.fromCharCode(byte);
      return /[ -~]/.test(character) && !/['\\!]/.test(character)
        ? character
        : `\\0${byte.toString(8).padStart(3, "0")}`;
    })
    .join("");
}

/** Finds the output and the exit code, as the bytes come. */
export class Capture {
  readonly #marks: ShellLines;
  readonly #decoder = new TextDecoder();
  #text = "";
  #looked = 0;
  #isInside = false;
  result: { readonly output: string; readonly exitCode: number } | undefined;
  isTooLarge = false;

  constructor(marks: ShellLines) {
    this.#marks = marks;
  }

  push(data: Uint8Array): void {
    if (this.result !== undefined) return;
    this.#text += this.#decoder.decode(data, { stream: true });
    if (!this.#isInside && !this.#enter()) return;
    const at = this.#text.indexOf(this.#marks.end, this.#looked);
    const code = at < 0 ? null : /^ (\d+)[\r\n]/.exec(this.#text.slice(at + this.#marks.end.length));
    if (code !== null) {
      const output = this.#text.slice(0, at).replace(/\r?\n$/, "");
      this.result = { output: output.replaceAll(/\r+\n/g, "\n"), exitCode: Number(code[1]) };
    } else if (this.#text.length > MAX_OUTPUT) {
      this.isTooLarge = true;
    }
    // the mark, and the number behind it, may come in pieces
    this.#looked = Math.max(0, this.#text.length - this.#marks.end.length - 8);
  }

  /** Leave out all that is before the output; whether it has begun. */
  #enter(): boolean {
    const begin = this.#text.indexOf(this.#marks.begin);
    if (begin < 0) this.#text = this.#text.slice(-this.#marks.begin.length);
    const line = begin < 0 ? -1 : this.#text.indexOf("\n", begin);
    if (line < 0) return false;
    this.#text = this.#text.slice(line + 1);
    this.#isInside = true;
    return true;
  }
}
