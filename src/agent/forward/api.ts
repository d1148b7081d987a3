/** Streams between a sandbox and its host, as their callers see them. */

import type { CapsaError } from "../../errors/errors.ts";

interface StreamOptions {
  /** Aborting closes it, and what goes through it. */
  readonly signal?: AbortSignal;
  /** Told of each connection that could not be passed on: nobody listens where it leads, … */
  readonly onFailure?: (error: CapsaError) => void;
}

export interface ForwardOptions extends StreamOptions {
  /** Address of this machine that is listened on (`"127.0.0.1"`). */
  readonly host?: string;
  /** TCP port of this machine (0: any that is free). */
  readonly port?: number;
  /** A Unix socket in place of an address and a port; this user's alone, and gone when the forward is closed. */
  readonly path?: string;
}

export interface ExposeOptions extends StreamOptions {
  /** Port of the guest's own loopback; 0 is any that is free. Without it, that of the service; of a Unix socket, 0. */
  readonly guestPort?: number;
}

export interface Opening extends AsyncDisposable {
  /** Settles when it is closed: by `close`, by the signal, or because the sandbox has ended. Never rejects. */
  readonly closed: Promise<void>;
  /**
   * Take no more connections, and end those that are open.
   * @example
   * const web = await vm.forward(8000);
   * await web.close();
   */
  close(): Promise<void>;
}

/** A place of this machine that leads to a server in a sandbox. Disposing of it closes it. */
export interface Forward extends Opening {
  /** `"127.0.0.1:49152"`, `"[::1]:49152"`, or the path of the Unix socket. */
  readonly address: string;
  /** Of TCP; 0 for a Unix socket. */
  readonly port: number;
  /** `"http://127.0.0.1:49152"`, `"unix:/path"`. */
  readonly url: string;
}

/** A port of a sandbox's own loopback that leads to a service of this machine. Disposing of it closes it. */
export interface Exposure extends Opening {
  /** Of 127.0.0.1 and ::1 in the guest. */
  readonly guestPort: number;
}
