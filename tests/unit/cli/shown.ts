/** A terminal that keeps what its own methods put out. */
import { Terminal } from "../../../src/cli/terminal.ts";

export class Shown extends Terminal {
  text = "";

  constructor() {
    super({ signal: new AbortController().signal, end() {} });
  }

  override get interactive(): boolean {
    return false;
  }

  override async write(chunk: string | Uint8Array): Promise<void> {
    this.text += typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
  }

  override writeError(chunk: string | Uint8Array): Promise<void> {
    return this.write(chunk);
  }
}
