/** Changes of files as an async iterator: what its reader has taken is what the guest may send again. */

import { checkPath } from "../../errors/check.ts";
import { guardMethods } from "../../errors/edge.ts";
import type { Call } from "../../wire/call.ts";
import { list, map, oneOf } from "../../wire/fields.ts";
import type { Message } from "../../wire/framing.ts";
import type { FileChange, Watcher, WatchOptions } from "../api.ts";
import type { Connection } from "../connect/connection.ts";
import { relativePath } from "./list.ts";

const KINDS = ["create", "modify", "delete", "attributes", "rename", "overflow"] as const;

/** One frame's changes; its length is credited once they are taken. */
interface Batch {
  readonly changes: FileChange[];
  readonly length: number;
}

/** Begins at once. Throws `ArgumentError` for what is no path, and what ended the connection. */
export function watch(connection: Connection, path: string, options: WatchOptions): Watcher {
  checkPath(path);
  return new Watching(connection, path, options);
}

class Watching implements Watcher {
  readonly ready: Promise<void>;
  readonly #base: string;
  readonly #call: Call;
  #batches: Batch[] = [];
  #readers: PromiseWithResolvers<IteratorResult<FileChange, undefined>>[] = [];
  /** Set at its end; the error is thrown once, after what is there. */
  #end: { error?: unknown } | undefined;

  constructor(connection: Connection, path: string, { recursive, attributes, signal }: WatchOptions) {
    const ready = Promise.withResolvers<void>();
    this.ready = ready.promise;
    this.ready.catch(() => {}); // whoever wants it awaits it
    this.#base = path.replace(/\/+$/, "");
    this.#call = connection.call({
      op: "watch",
      path,
      request: { op: "watch", path, recursive, attributes },
      cancel: { ev: "abort" },
      signal,
      onEvent: (event, length) => {
        if (oneOf(event, "ev", ["watching", "entries"]) === "watching") ready.resolve();
        else this.#push(list(event, "entries"), length);
      },
    });
    this.#call.response.then(
      () => this.#finish({}),
      (error) => {
        ready.reject(error);
        if (signal?.aborted) this.#drop();
        this.#finish(signal?.aborted ? {} : { error });
      },
    );
  }

  async next(): Promise<IteratorResult<FileChange, undefined>> {
    const batch = this.#batches[0];
    const value = batch?.changes.shift();
    if (batch !== undefined && value !== undefined) {
      if (batch.changes.length === 0) this.#taken(this.#batches.shift()!);
      return { done: false, value };
    }
    const reader = Promise.withResolvers<IteratorResult<FileChange, undefined>>();
    this.#readers.push(reader);
    this.#settle();
    return reader.promise;
  }

  async return(): Promise<IteratorResult<FileChange, undefined>> {
    this.#drop();
    this.#finish({});
    this.#call.abandon(new Error("nobody watches any more"));
    return { done: true, value: undefined };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #push(entries: readonly unknown[], length: number): void {
    const changes = entries.map((entry) => this.#change(map(entry, "a change")));
    const batch = { changes, length };
    while (this.#readers.length > 0 && changes.length > 0)
      this.#readers.shift()!.resolve({ done: false, value: changes.shift()! });
    if (changes.length === 0 || this.#end !== undefined) this.#taken(batch);
    else this.#batches.push(batch);
  }

  #change(told: Message): FileChange {
    const type = oneOf(told, "change", KINDS);
    if (type === "overflow") return { type };
    const path = this.#place(told.path);
    const directory = told.directory === true;
    return type === "rename"
      ? { type, from: path, to: this.#place(told.to), directory }
      : { type, path, directory };
  }

  #place(told: unknown): string {
    if (told === "") return this.#base || "/";
    return `${this.#base}/${relativePath(told)}`;
  }

  #taken(batch: Batch): void {
    this.#call.taken(batch.length);
  }

  #drop(): void {
    for (const batch of this.#batches.splice(0)) this.#taken(batch);
  }

  #finish(end: { error?: unknown }): void {
    this.#end ??= end;
    this.#settle();
  }

  /** Nothing more comes for those who wait: the first of them is told why. */
  #settle(): void {
    if (this.#end === undefined) return;
    for (const reader of this.#readers.splice(0)) {
      if (this.#end.error === undefined) reader.resolve({ done: true, value: undefined });
      else reader.reject(this.#end.error);
      this.#end = {};
    }
  }
}

guardMethods(Watching.prototype);
