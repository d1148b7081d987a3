/** The regular files of a tree as they come from a guest, in memory: it may say anything, and no more is kept than asked for. */

import { AgentError } from "../../errors/errors.ts";
import { TREE_DEPTH } from "../../host/place.ts";
import { FrameDecoder, ProtocolError } from "../../wire/framing.ts";
import { Collector } from "../../wire/streams.ts";
import { readRecord, type TreeRecord } from "./record.ts";

const ZEROS = new Uint8Array(1 << 16);

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export interface Bounds {
  readonly maxFiles: number;
  /** Of what comes, names and all, and of holes and second names. */
  readonly maxBytes: number;
}

export class Gatherer {
  readonly files = new Map<string, Uint8Array>();
  readonly #path: string;
  readonly #bounds: Bounds;
  readonly #decoder = new FrameDecoder();
  readonly #above: Buffer[] = [];
  #file: { readonly path: string; readonly contents: Collector } | undefined;
  #bytes = 0;
  #state: "empty" | "open" | "whole" = "empty";

  /** Of the directory of the guest at `path`. */
  constructor(path: string, bounds: Bounds) {
    this.#path = path;
    this.#bounds = bounds;
  }

  /** Some more of the stream. Throws `ProtocolError` for what is none, and `AgentError` for what is too much. */
  push(chunk: Uint8Array): void {
    this.#count(chunk.length);
    for (const [message] of this.#decoder.push(chunk)) {
      if (this.#state === "whole") throw new ProtocolError("a tree goes on behind its end");
      this.#take(readRecord(message, this.#state === "empty"));
      this.#state = this.#above.length === 0 ? "whole" : "open";
    }
  }

  /** The stream has ended. Throws `ProtocolError` when that is too early. */
  finish(): void {
    if (this.#state !== "whole" || this.#decoder.pending) throw new ProtocolError("a tree is cut short");
  }

  #take(record: TreeRecord): void {
    if (this.#file !== undefined) {
      this.#contents(this.#file, record);
      return;
    }
    if (this.#state === "empty" && record.ev !== "dir") throw this.#refused("ENOTDIR", "it is no directory");
    switch (record.ev) {
      case "dir":
        if (this.#above.length === TREE_DEPTH) throw new ProtocolError("a tree is nested too deep");
        this.#above.push(record.name);
        return;
      case "end":
        this.#above.pop();
        return;
      case "data":
      case "hole":
        throw new ProtocolError("a tree has data outside of its files");
      case "file":
        this.#file = {
          path: this.#pathOf([...this.#above.slice(1), record.name]),
          contents: new Collector(),
        };
        return;
      case "link":
        this.#link(this.#pathOf([...this.#above.slice(1), record.name]), this.#pathOf(record.target));
    }
  }

  #contents({ path, contents }: { path: string; contents: Collector }, record: TreeRecord): void {
    if (record.ev === "data") {
      contents.add(record.data);
    } else if (record.ev === "hole") {
      this.#count(record.size);
      for (let left = record.size; left > 0; left -= ZEROS.length) contents.add(ZEROS.subarray(0, left));
    } else if (record.ev === "end") {
      this.#put(path, contents.bytes());
      this.#file = undefined;
    } else {
      throw new ProtocolError("a file in a tree has no end");
    }
  }

  /** Another name of a file that has come. */
  #link(path: string, target: string): void {
    const first = this.files.get(target);
    if (first === undefined) throw new ProtocolError("a link in a tree leads to no file of it");
    this.#count(first.length);
    this.#put(path, first.slice());
  }

  #put(path: string, contents: Uint8Array): void {
    this.files.set(path, contents);
    if (this.files.size > this.#bounds.maxFiles)
      throw this.#tooLarge(`there are over ${this.#bounds.maxFiles} files`, "maxFiles");
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#bounds.maxBytes)
      throw this.#tooLarge(`it is over ${this.#bounds.maxBytes} bytes`, "maxBytes");
  }

  #tooLarge(what: string, option: keyof Bounds): AgentError {
    return this.#refused("OUTPUT_TOO_LARGE", what, `raise ${option}, or use download`);
  }

  /** Two names that are not UTF-8 could else be one. */
  #pathOf(names: readonly Buffer[]): string {
    try {
      return names.map((name) => decoder.decode(name)).join("/");
    } catch {
      const hint = "use download, which keeps names of any bytes";
      throw this.#refused("EILSEQ", "a name in it is not UTF-8", hint);
    }
  }

  #refused(code: string, what: string, hint?: string): AgentError {
    const path = this.#path;
    const more = hint === undefined ? {} : { hint };
    return new AgentError(code, `collect ${path}: ${what}`, { op: "collect", path, ...more });
  }
}
