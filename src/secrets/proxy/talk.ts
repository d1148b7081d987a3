/** What whoever starts a sandbox and the proxy of its secrets say to each other: lines of JSON, on the proxy's pipes. */

import type { OutsideProxy } from "./outside.ts";

/** The first argument of the compiled command line where it is not a command but the proxy. */
export const PROXY = "--secrets-proxy";

/** The first line to the proxy. What follows once the VMM runs is an empty line. */
export interface ProxyTask {
  readonly services: readonly {
    readonly name: string;
    readonly port: number;
    /** Path of the Unix socket to listen on. */
    readonly socket: string;
    readonly secrets: readonly ProxySecret[];
  }[];
  /** To ask for addresses; absent: the host's. */
  readonly nameServers?: readonly string[];
  /** The proxy by which the hosts are reached; absent: they are reached directly. */
  readonly outside?: OutsideProxy;
  /** Path of the VMM's control.sock: the proxy ends when the connection to it does. */
  readonly control: string;
  /** Path of the file to which refusals are written. */
  readonly log: string;
}

export interface ProxySecret {
  readonly placeholder: string;
  readonly value: string;
  /** In small letters. */
  readonly header?: string;
}

/** Lines of the proxy: `ready` or `failed` first, once. */
export type ProxyWord =
  | { readonly ready: { /** PEM */ readonly authority: string } }
  | { readonly failed: string }
  | { readonly following: true }
  | { readonly refused: { readonly name: string; readonly port: number; readonly why: string } };

/** Of a stream of bytes; Bun's own and Node's are of different types. */
interface Reader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
}

/** Lines of a stream; what follows the last line's end is none. */
export async function* lines(reader: Reader): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for (let read = await reader.read(); !read.done; read = await reader.read()) {
    const parts = (rest + decoder.decode(read.value, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}
