/**
 * One host as the guest meets it: a TLS server with a certificate for the host's name, which passes requests on to the
 * true one. HTTP/1.1, which is what it agrees on by ALPN.
 */

import {
  type ClientRequest,
  createServer,
  type IncomingMessage,
  type ServerResponse,
  STATUS_CODES,
} from "node:http";
import { type Agent, request } from "node:https";
import type { Duplex } from "node:stream";
import { pipeline } from "node:stream";
import { createServer as createTlsServer, type Server, type TLSSocket } from "node:tls";
import type { Identity } from "./authority.ts";
import { pairs, type RawHeaders, type Swapped, swapIn, swapOut, valuesOf, withoutHop } from "./headers.ts";
import { Mask } from "./mask.ts";
import { type RequestLine, RequestLines } from "./request_line.ts";
import type { ProxySecret } from "./talk.ts";

const HEADERS_MAX = 65_536; // bytes
const HEADERS_MS = 60_000;
const IDLE_MS = 60_000;
/** In a header, RFC 9110 section 5.5. */
const UNSAYABLE = /[^\t\x20-\x7e\x80-\xff]/;

interface HostOptions {
  readonly name: string;
  readonly port: number;
  readonly secrets: readonly ProxySecret[];
  readonly identity: Identity;
  readonly makeAgent: () => Agent;
  /** Told why a request was refused, or could not be passed on. */
  readonly onRefusal: (why: string) => void;
}

/** The server, which is not listening yet. */
export function hostServer(options: HostOptions): Server {
  const { identity, onRefusal, makeAgent } = options;
  const server = createServer({
    maxHeaderSize: HEADERS_MAX,
    headersTimeout: HEADERS_MS,
    keepAliveTimeout: IDLE_MS,
    requestTimeout: 0, // an upload takes as long as it takes
  });
  // a connection of the guest's has one of its own to the host: what becomes of the one becomes of the other
  const agents = new WeakMap<Duplex, Agent>();
  const lines = new WeakMap<Duplex, RequestLines>();
  const begin = (asked: IncomingMessage, line: RequestLine) => {
    const agent = agents.get(asked.socket) ?? makeAgent();
    if (!agents.has(asked.socket)) asked.socket.once("close", () => agent.destroy());
    agents.set(asked.socket, agent);
    return new Exchange(options, agent, asked, line);
  };
  const serve = (asked: IncomingMessage, answer: ServerResponse) => {
    const ofConnection = lines.get(asked.socket)!;
    const line = ofConnection.take(asked);
    ofConnection.goOnBehind(asked);
    const refused = refusal(options, asked, line);
    if (refused === undefined) return begin(asked, line).answer(answer);
    onRefusal(refused.why);
    // what the client still sends is not read: it is the connection's last request
    answer.writeHead(refused.status, { "Content-Type": "text/plain", Connection: "close" });
    answer.end(`capsa: ${refused.why}\n`);
  };
  server.on("request", serve);
  server.on("checkContinue", serve);
  server.on("checkExpectation", serve);
  server.on("connect", (_asked, socket) => {
    socket.on("error", () => {}).end(head(405, ["Connection", "close"]));
  });
  server.on("upgrade", (asked, socket, early) => {
    socket.on("error", () => {});
    const line = lines.get(asked.socket)!.take(asked);
    const refused = refusal(options, asked, line);
    if (refused === undefined) return begin(asked, line).upgrade(socket, early);
    onRefusal(refused.why);
    socket.end(`${head(refused.status, ["Connection", "close"])}capsa: ${refused.why}\n`);
  });
  server.on("clientError", (_error, socket) => {
    if (!socket.writable) return void socket.destroy();
    onRefusal("a request that is no HTTP/1.1");
    socket.on("error", () => {}).end(head(400, ["Connection", "close"]));
  });
  // Bun's node:https, which is both in one, hangs up after 12 seconds without a byte: slow guests take longer
  const tls = createTlsServer({ ...identity, ALPNProtocols: ["http/1.1"] }, (socket) => {
    lines.set(socket, new RequestLines(socket));
    server.emit("connection", socket);
  });
  return tls.on("tlsClientError", () => {});
}

/** Why a request is not passed on: it has to be for this host in all the places that say whom it is for. */
function refusal(
  { name, port }: HostOptions,
  asked: IncomingMessage,
  { method, target }: RequestLine,
): { readonly status: number; readonly why: string } | undefined {
  const misdirected = (why: string) => ({ status: 421, why: `${why}: this is ${name}:${port}` });
  const spoken = (asked.socket as TLSSocket & { servername?: string | false }).servername;
  if (typeof spoken !== "string" || spoken.toLowerCase() !== name)
    return misdirected("the TLS name (SNI) is another or none");
  const hosts = valuesOf(asked.rawHeaders, "host");
  if (hosts.length !== 1 || !isHost(hosts[0]!, name, port))
    return misdirected("Host does not agree with the TLS name (SNI)");
  if (!target.startsWith("/") && target !== "*")
    return { status: 400, why: "the request's target is not a path" };
  const framings = valuesOf(asked.rawHeaders, "transfer-encoding");
  if (framings.some((framing) => framing.trim().toLowerCase() !== "chunked"))
    return { status: 400, why: "the request's body has another framing than chunks" };
  if (asked.rawHeaders.some((text) => UNSAYABLE.test(text)) || /[^\x21-\x7e\x80-\xff]/.test(target))
    return { status: 400, why: "the request has characters in it that HTTP has not" };
  if (/\bh2c\b/i.test(asked.headers.upgrade ?? ""))
    return {
      status: 400,
      why: "an upgrade to HTTP/2, whose answers could not be searched, is not passed on",
    };
  if (method === "TRACE" || method === "CONNECT")
    return { status: 405, why: `${method} is not passed on: its answer would show the secret` };
  return undefined;
}

function isHost(host: string, name: string, port: number): boolean {
  const [, given, suffix] = /^([^:]+?)\.?(?::(\d{1,5}))?$/.exec(host.trim().toLowerCase()) ?? [];
  return given === name && Number(suffix ?? 443) === port;
}

/** A request of the guest, passed on, and its answer. */
class Exchange {
  readonly #options: HostOptions;
  readonly #agent: Agent;
  readonly #asked: IncomingMessage;
  readonly #line: RequestLine;
  readonly #swapped: readonly Swapped[];
  readonly #headers: readonly string[];

  constructor(options: HostOptions, agent: Agent, asked: IncomingMessage, line: RequestLine) {
    this.#options = options;
    this.#line = line;
    this.#agent = agent;
    this.#asked = asked;
    const { headers, swapped } = swapIn(withoutHop(asked.rawHeaders), options.secrets);
    // an answer that is compressed could not be searched
    this.#headers = without(headers, ["accept-encoding", "sec-websocket-extensions"]).concat(
      "Accept-Encoding",
      "identity",
    );
    this.#swapped = swapped;
  }

  answer(answer: ServerResponse): void {
    const asked = this.#asked;
    const chunked = asked.headers["transfer-encoding"] !== undefined;
    const upstream = this.#request([...this.#headers, ...(chunked ? ["Transfer-Encoding", "chunked"] : [])]);
    upstream.on("continue", () => answer.writeContinue());
    upstream.on("response", (response) => {
      const headers = swapOut(withoutHop(response.rawHeaders), this.#swapped);
      answer.writeHead(response.statusCode!, this.#show(response.statusMessage), headers);
      pipeline(response, this.#mask(), answer, (error) => {
        if (error) answer.destroy();
      });
    });
    upstream.on("error", (error: NodeJS.ErrnoException) => {
      // where the host has closed what it had kept open, clients know what to do
      const closed = error.code === "ECONNRESET" && upstream.reusedSocket;
      if (answer.headersSent || closed) return void asked.socket.destroy();
      answer.writeHead(502, { "Content-Type": "text/plain", Connection: "close" });
      answer.end(`capsa: ${this.#blame(error)}\n`);
    });
    answer.on("close", () => {
      if (!answer.writableFinished) upstream.destroy();
    });
    pipeline(asked, upstream, () => {}); // what fails is told by `upstream`
  }

  upgrade(socket: Duplex, early: Buffer): void {
    const protocol = valuesOf(this.#asked.rawHeaders, "upgrade").join(", ");
    const upstream = this.#request([...this.#headers, "Connection", "Upgrade", "Upgrade", protocol]);
    upstream.on("upgrade", (response, far, begun) => {
      socket.write(
        this.#head(response, ["Connection", "Upgrade", "Upgrade", response.headers.upgrade ?? protocol]),
      );
      const mask = this.#mask();
      const end = () => {
        socket.destroy();
        far.destroy();
      };
      if (early.length > 0) far.write(early);
      if (begun.length > 0) mask.write(begun);
      pipeline(far, mask, socket, end);
      pipeline(socket, far, end);
    });
    upstream.on("response", (response) => {
      // its length may be by chunks, which are gone: the connection's end is the answer's
      socket.write(this.#head(response, ["Connection", "close"]));
      pipeline(response, this.#mask(), socket, () => socket.destroy());
    });
    upstream.on("error", (error) => {
      socket.end(`${head(502, ["Connection", "close"])}capsa: ${this.#blame(error)}\n`);
    });
    socket.on("close", () => upstream.destroy());
    upstream.end();
  }

  #request(headers: RawHeaders): ClientRequest {
    const { name, port } = this.#options;
    const { method, target: path } = this.#line;
    // a list and not an object: names keep their letters, and may be there twice
    return request({
      host: name,
      port,
      servername: name,
      agent: this.#agent,
      method,
      path,
      setHost: false,
      headers: [...headers],
    });
  }

  #mask(): Mask {
    return new Mask(this.#swapped.map(({ sent }) => sent));
  }

  #show(text: string | undefined): string {
    return swapOut([text ?? ""], this.#swapped)[0]!;
  }

  #head(response: IncomingMessage, more: RawHeaders): string {
    const headers = swapOut(withoutHop(response.rawHeaders), this.#swapped);
    return head(response.statusCode!, [...headers, ...more], this.#show(response.statusMessage));
  }

  #blame({ code, message }: NodeJS.ErrnoException): string {
    const { name, port, onRefusal } = this.#options;
    const why = `${name}:${port} cannot be reached: ${message || code}`;
    onRefusal(why);
    return why;
  }
}

function without(headers: RawHeaders, names: readonly string[]): string[] {
  return [...pairs(headers)].filter(([name]) => !names.includes(name.toLowerCase())).flat();
}

/** A response's first lines. */
function head(status: number, headers: RawHeaders, message = STATUS_CODES[status] ?? ""): string {
  const lines = [...pairs(headers)].map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${status} ${message}\r\n${lines.join("")}\r\n`;
}
