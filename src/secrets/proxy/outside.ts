/** The proxy by which this machine reaches the outside, as curl reads it from the environment, and the way through it. */

import { connect as connectTcp } from "node:net";
import type { Duplex } from "node:stream";
import { connect as connectTls, type SecureContext } from "node:tls";
import { HostError } from "../../errors/errors.ts";

export interface OutsideProxy {
  /** TLS to the proxy itself. */
  readonly tls: boolean;
  readonly host: string;
  readonly port: number;
  /** Of `Proxy-Authorization`. */
  readonly authorization?: string;
  /** Names that are reached without it, those below them too; `*` for all. In small letters. */
  readonly except: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

const PORTS: Readonly<Record<string, number>> = { "http:": 1080, "https:": 443 }; // curl's
const PATIENCE_MS = 30_000;
const HEAD_MAX = 16_384; // bytes

/** Undefined where nothing is set. Throws {@link HostError} for what leads nowhere. */
export function outsideProxy(env: Environment): OutsideProxy | undefined {
  const names = ["https_proxy", "all_proxy"].flatMap((name) => [name, name.toUpperCase()]);
  const name = names.find((name) => env[name]);
  const given = name && env[name];
  if (!given) return undefined;
  const text = /^[a-z0-9]+:\/\//i.test(given) ? given : `http://${given}`;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  // a port that is the scheme's own is left out of a URL
  const written = Number(/:(\d+)\/*$/.exec(text)?.[1] ?? 0);
  const usual = url && PORTS[url.protocol];
  const login = url && decode(`${url.username}:${url.password}`);
  if (!url?.hostname || usual === undefined || login === undefined)
    throw new HostError(
      "SECRETS_PROXY",
      `${name} is not a proxy that capsa can use to reach the secrets' hosts`,
      {
        hint: `give http://HOST:PORT or https://HOST:PORT, or unset ${name} if there is no proxy`,
      },
    );
  return {
    tls: url.protocol === "https:",
    host: url.hostname.replace(/^\[(.*)\]$/, "$1"),
    port: written || usual,
    ...(url.username === "" ? {} : { authorization: `Basic ${Buffer.from(login).toString("base64")}` }),
    except: (env.no_proxy ?? env.NO_PROXY ?? "")
      .toLowerCase()
      .split(/[\s,]+/)
      .map((name) => name.replace(/^\.|\.$/g, ""))
      .filter((name) => name !== ""),
  };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

export function goesBy(proxy: OutsideProxy | undefined, name: string): proxy is OutsideProxy {
  return !!proxy && !proxy.except.some((one) => one === "*" || one === name || name.endsWith(`.${one}`));
}

/** A stream to the place, by way of the proxy (RFC 9110 section 9.3.6), of which `secureContext` says who is believed. */
export function connectBy(proxy: OutsideProxy, place: string, secureContext: SecureContext): Promise<Duplex> {
  const { promise, resolve, reject } = Promise.withResolvers<Duplex>();
  const { tls, host, port, authorization } = proxy;
  const fail = (why: string) => {
    clearTimeout(timer);
    socket.destroy();
    reject(new Error(`the proxy ${host}:${port} ${why}`));
  };
  const greet = () => {
    const login = authorization === undefined ? "" : `Proxy-Authorization: ${authorization}\r\n`;
    socket.write(`CONNECT ${place} HTTP/1.1\r\nHost: ${place}\r\n${login}\r\n`);
  };
  const socket = tls
    ? connectTls({ host, port, servername: host, secureContext, ALPNProtocols: ["http/1.1"] }, greet)
    : connectTcp({ host, port }, greet);
  const timer = setTimeout(() => fail(`says nothing for ${PATIENCE_MS / 1000} seconds`), PATIENCE_MS);
  let head = Buffer.alloc(0);
  const listen = (chunk: Buffer) => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0 && head.length < HEAD_MAX) return;
    const status = /^HTTP\/1\.[01] (\d{3})/.exec(head.toString("latin1"))?.[1];
    if (end < 0 || !status?.startsWith("2")) return fail(`answers ${status ?? "something else than HTTP"}`);
    clearTimeout(timer);
    socket.off("data", listen).off("error", onError).off("close", onClose).pause();
    if (head.length > end + 4) socket.unshift(head.subarray(end + 4));
    resolve(socket);
  };
  const onError = ({ code, message }: NodeJS.ErrnoException) => fail(`cannot be reached: ${message || code}`);
  const onClose = () => fail("hangs up");
  socket.on("data", listen).on("error", onError).on("close", onClose);
  return promise;
}
