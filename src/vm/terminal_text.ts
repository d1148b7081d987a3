/** What a terminal is sent, made into text: line ends as "\n", and what it obeys (ECMA-48) left out. */

/** A string for the terminal (a title, say) that does not end by then is none. */
const MAX_STRING = 4096;

type State = "text" | "escape" | "sequence" | "string";

export class TerminalText {
  readonly #decoder = new TextDecoder();
  #state: State = "text";
  #length = 0; // of the string so far

  /** The text in these bytes; what they leave unfinished is finished by the next. */
  push(data: Uint8Array): string {
    let text = "";
    for (const character of this.#decoder.decode(data, { stream: true })) {
      if (this.#take(character)) text += character;
    }
    return text;
  }

  /** Whether the character is text. */
  #take(character: string): boolean {
    if (character === "\x1b") {
      this.#state = "escape";
      return false;
    }
    if (character === "\n") this.#state = "text"; // a sequence that was broken off swallows no lines
    switch (this.#state) {
      case "text":
        return character === "\n" || character === "\t" || !/\p{Cc}/u.test(character);
      case "escape":
        this.#length = 0;
        if (character === "[") this.#state = "sequence";
        else if (/[\]PX^_]/.test(character)) this.#state = "string";
        else if (!/[ -/]/.test(character)) this.#state = "text";
        return false;
      case "sequence":
        if (/[@-~]/.test(character)) this.#state = "text";
        return false;
      case "string":
        if (character === "\x07" || ++this.#length > MAX_STRING) this.#state = "text";
        return false;
    }
  }
}
