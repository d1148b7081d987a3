/** The proxy of a sandbox's secrets, as seen by who starts the sandbox. */

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { HostError } from "../errors/errors.ts";
import { controlSocket, SECRETS_LOG, secretSocket, vmmDirectory } from "../host/directories.ts";
import { absolute } from "../host/homes.ts";
import { BUN, packagePath } from "../host/installation.ts";
import type { NetworkRefusal } from "../network/spec.ts";
import { hostsOf, parseHost, type SecretHost } from "../spec/secret_host.ts";
import type { Secrets } from "../spec/spec.ts";
import { outsideProxy } from "./proxy/outside.ts";
import { lines, PROXY, type ProxySecret, type ProxyTask, type ProxyWord } from "./proxy/talk.ts";
import { readSecret } from "./value.ts";

/** From its start to its first word, which takes a tenth of a second where nothing is emulated. */
const START_MS = 60_000;

type Child = Bun.Subprocess<"pipe", "pipe", "ignore">;

/** A host and the Unix socket where the proxy speaks for it. */
interface SecretService extends SecretHost {
  readonly socket: string;
}

interface ProxyOptions {
  readonly secrets: Secrets;
  /** What the guest has for each. */
  readonly placeholders: Readonly<Record<string, string>>;
  readonly runtimeDir: string;
  readonly nameServers?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Runs, and ends with this process until it follows a VMM. */
export class SecretProxy {
  readonly services: readonly SecretService[];
  /** The certificate of its authority, PEM. */
  readonly authority: string;
  readonly #child: Child;
  readonly #words: Words;

  private constructor(services: readonly SecretService[], authority: string, child: Child, words: Words) {
    this.services = services;
    this.authority = authority;
    this.#child = child;
    this.#words = words;
  }

  /**
   * Read the values, and start it. Rejects with `SpecError` where a value cannot be had, and with {@link HostError}
   * `SECRETS_PROXY` when it does not start, `SPEC_INVALID` where the environment names certificates by a relative path.
   */
  static async start(options: ProxyOptions): Promise<SecretProxy> {
    const { runtimeDir, signal } = options;
    const services = hostsOf(options.secrets).map((host, index) => ({
      ...host,
      socket: secretSocket(runtimeDir, index),
    }));
    const task = makeTask(options, services);
    mkdirSync(vmmDirectory(runtimeDir), { recursive: true, mode: 0o700 });
    const child = spawnProxy(runtimeDir);
    const words = new Words(child.stdout);
    const limit = setTimeout(() => child.kill("SIGKILL"), START_MS);
    const abort = () => child.kill("SIGKILL");
    signal?.addEventListener("abort", abort);
    try {
      await send(child, JSON.stringify(task));
      const word = await words.next();
      signal?.throwIfAborted();
      if (!("ready" in word)) throw failed("failed" in word ? word.failed : "it ended without a word");
      return new SecretProxy(services, word.ready.authority, child, words);
    } catch (error) {
      child.kill("SIGKILL");
      throw error;
    } finally {
      clearTimeout(limit);
      signal?.removeEventListener("abort", abort);
    }
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Settles when it has ended. */
  get exited(): Promise<unknown> {
    return this.#child.exited;
  }

  /** The VMM runs: from now on it ends with that, whatever becomes of this process. What it refuses is told meanwhile. */
  async follow(onRefusal: ((refusal: NetworkRefusal) => void) | undefined): Promise<void> {
    await send(this.#child, "");
    const word = await this.#tell(onRefusal);
    if (!("following" in word)) throw failed("failed" in word ? word.failed : "it did not find the VMM");
    void this.#tell(onRefusal);
  }

  /** Until it says something else than what it refuses. */
  async #tell(onRefusal: ((refusal: NetworkRefusal) => void) | undefined): Promise<ProxyWord> {
    for (;;) {
      const word = await this.#words.next();
      if (!("refused" in word)) return word;
      const { name, port, why } = word.refused;
      onRefusal?.({ protocol: "tcp", name, port, why });
    }
  }

  /** Nothing more is heard of it here. One that follows no VMM ends. */
  async leave(): Promise<void> {
    await this.#words.end();
    await Promise.resolve(this.#child.stdin.end()).catch(() => {}); // it may have ended before
  }
}

function makeTask(options: ProxyOptions, services: readonly SecretService[]): ProxyTask {
  const { secrets, placeholders, runtimeDir, nameServers } = options;
  const outside = outsideProxy(process.env);
  const all = Object.entries(secrets).map(([name, { from, hosts, header }]) => {
    const value = readSecret(["secrets", name, "from"], from);
    const secret: ProxySecret = {
      placeholder: placeholders[name]!,
      value,
      ...(header === undefined ? {} : { header: header.toLowerCase() }),
    };
    return { secret, hosts: hosts.map((host) => parseHost(["secrets", name, "hosts"], host)) };
  });
  const isOf = (service: SecretService) => (host: SecretHost) =>
    host.name === service.name && host.port === service.port;
  return {
    services: services.map((service) => ({
      ...service,
      secrets: all.filter(({ hosts }) => hosts.some(isOf(service))).map(({ secret }) => secret),
    })),
    ...(nameServers === undefined ? {} : { nameServers }),
    ...(outside === undefined ? {} : { outside }),
    control: controlSocket(runtimeDir),
    log: join(runtimeDir, SECRETS_LOG),
  };
}

/**
 * By its last argument one knows whose it is. In a session of its own, so that Ctrl-C is not for it; without core files;
 * with nothing of the environment but what says whose certificates to believe; at home in /, so that no directory is in use.
 */
function spawnProxy(runtimeDir: string): Child {
  // the compiled command line has it in itself, which starts twice as fast; another compiled program has Bun in itself
  const own = process.execPath === packagePath("build", "capsa");
  const command = own
    ? [process.execPath, PROXY]
    : [BUN, "--with", process.execPath, "src/secrets/proxy/main.ts"];
  const asBun = Bun.isStandaloneExecutable && !own ? { BUN_BE_BUN: "1" } : {};
  const { NODE_EXTRA_CA_CERTS, SSL_CERT_FILE, SSL_CERT_DIR } = process.env;
  const believed = Object.entries({ NODE_EXTRA_CA_CERTS, SSL_CERT_FILE, SSL_CERT_DIR }).filter(
    ([name, path]) => absolute({ [name]: path }),
  );
  const child = Bun.spawn(["/bin/sh", "-c", 'ulimit -c 0; exec "$@"', "sh", ...command, runtimeDir], {
    cwd: "/",
    env: { ...Object.fromEntries(believed), ...asBun },
    stdin: "pipe",
    stdout: "pipe",
    stderr: "ignore",
    detached: true,
  });
  child.unref();
  return child;
}

/** A line; one that has ended has said why, or says nothing any more. */
async function send({ stdin }: Child, line: string): Promise<void> {
  try {
    stdin.write(`${line}\n`);
    await stdin.flush();
  } catch {}
}

/** What it says, until somebody has heard enough. */
class Words {
  readonly #reader: { cancel(): Promise<void> };
  readonly #lines: AsyncIterator<string, void, void>;

  constructor(stream: ReadableStream<Uint8Array>) {
    const reader = stream.getReader();
    this.#reader = reader;
    this.#lines = lines(reader);
  }

  async next(): Promise<ProxyWord> {
    const { done, value } = await this.#lines.next();
    return done ? { failed: "it ended without a word" } : JSON.parse(value);
  }

  end(): Promise<void> {
    return this.#reader.cancel();
  }
}

function failed(why: string): HostError {
  return new HostError("SECRETS_PROXY", `the proxy of the sandbox's secrets could not be started: ${why}`, {
    hint: "run `make setup` in capsa's directory, which installs the proxy",
  });
}
