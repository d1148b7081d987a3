/** An agent made of a few lines, on a Unix socket: honest where a test wants it, hostile where it does not. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Agent } from "../../../src/agent/api.ts";
import { connectAgent } from "../../../src/agent/client.ts";
import { encodeFrame, FrameDecoder, type Message } from "../../../src/wire/framing.ts";

export interface Peer {
  /** Send one frame. */
  send(message: object): void;
  /** Send bytes as they are. */
  raw(bytes: Uint8Array): void;
  hangUp(): void;
}

type Behaviour = (message: Message, peer: Peer) => void;

export class FakeAgent implements AsyncDisposable {
  readonly path: string;
  /** All that the client sent after its greeting. */
  readonly received: Message[] = [];
  readonly #directory: string;
  readonly #server: { stop(force?: boolean): void };

  /** `behave` sees every message but the greeting, which is answered for it unless `greet` says how. */
  constructor(behave: Behaviour, greet: Behaviour = greeting) {
    this.#directory = mkdtempSync(join(tmpdir(), "capsa-fake-"));
    this.path = join(this.#directory, "agent.sock");
    const received = this.received;
    this.#server = Bun.listen<{ decoder: FrameDecoder; queue: Uint8Array[] }>({
      unix: this.path,
      socket: {
        open(socket) {
          socket.data = { decoder: new FrameDecoder(), queue: [] };
        },
        data(socket, chunk) {
          const peer: Peer = {
            send: (message) => write(socket, encodeFrame(message)),
            raw: (bytes) => write(socket, bytes),
            hangUp: () => socket.end(),
          };
          for (const [message] of socket.data.decoder.push(chunk)) {
            if (message.op === "hello") {
              greet(message, peer);
              continue;
            }
            received.push(message);
            behave(message, peer);
          }
        },
        drain: (socket) => flush(socket),
      },
    });
  }

  connect(): Promise<Agent> {
    return connectAgent(this.path, { timeoutMs: 2000 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.stop(true);
    rmSync(this.#directory, { recursive: true });
  }
}

export function greeting(message: Message, peer: Peer): void {
  peer.send({ id: message.id, ok: true, version: 1, agent: "fake/1" });
}

type Wire = { write(bytes: Uint8Array): number; data: { queue: Uint8Array[] } };

function write(socket: Wire, bytes: Uint8Array): void {
  socket.data.queue.push(bytes);
  if (socket.data.queue.length === 1) flush(socket);
}

function flush(socket: Wire): void {
  const { queue } = socket.data;
  while (queue[0] !== undefined) {
    const written = socket.write(queue[0]);
    if (written < 0) return;
    if (written < queue[0].length) {
      queue[0] = queue[0].subarray(written);
      return;
    }
    queue.shift();
  }
}
