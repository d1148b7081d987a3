/** Standard output and error as the verbs use them: back-pressure honoured, colours only where a person sees them. */
import pico from "picocolors";
import type { Colors } from "picocolors/types";

export class Terminal {
  /** For text written to stdout and to stderr. */
  readonly outColors: Colors = pico.createColors(colourful(process.stdout));
  readonly errColors: Colors = pico.createColors(colourful(process.stderr));
  /** A person looks at stderr: progress may be drawn there. */
  readonly interactive: boolean = Boolean(process.stderr.isTTY) && process.env.TERM !== "dumb";

  /** Write to stdout; resolves when it was taken. A closed pipe rejects with EPIPE. */
  write(chunk: string | Uint8Array): Promise<void> {
    return write(process.stdout, chunk);
  }

  /** Write a line to stdout. */
  print(line: string): Promise<void> {
    return this.write(`${line}\n`);
  }

  /** One JSON document on stdout. */
  json(value: unknown): Promise<void> {
    return this.print(JSON.stringify(value, null, 2));
  }

  /** Write to stderr; a closed one is no reason to fail. */
  async writeError(chunk: string | Uint8Array): Promise<void> {
    await write(process.stderr, chunk).catch(() => {});
  }

  /** Write a line to stderr. */
  say(line: string): Promise<void> {
    return this.writeError(`${line}\n`);
  }
}

function write(stream: NodeJS.WriteStream, chunk: string | Uint8Array): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  stream.write(chunk, (error) => (error ? reject(error) : resolve()));
  return promise;
}

/** https://no-color.org */
function colourful(stream: NodeJS.WriteStream): boolean {
  return Boolean(stream.isTTY) && !process.env.NO_COLOR && process.env.TERM !== "dumb";
}
