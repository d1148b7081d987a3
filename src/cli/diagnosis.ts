/** What this machine and this installation can do for a sandbox: each finding, and the mend where there is one. */

import { dlopen } from "bun:ffi";
import { createSocket } from "node:dgram";
import { accessSync, constants, existsSync, readFileSync, statfsSync } from "node:fs";
import { isIP } from "node:net";
import { checkStaging } from "../changes/staging.ts";
import { chooseEngine } from "../engine/choose.ts";
import type { Engine, Look } from "../engine/engine.ts";
import { ENGINES } from "../engine/engines.ts";
import { checkLibrary } from "../engine/library.ts";
import { CapsaError } from "../errors/errors.ts";
import { runtimeBase } from "../host/directories.ts";
import { initramfsPath, kernelPath, qemuPath, vmmPath } from "../host/installation.ts";
import { hostNames } from "../network/host.ts";
import { MIB } from "../spec/units.ts";

export interface Finding {
  readonly name: string;
  /** `note`: sandboxes start, but something is slower or weaker; `bad`: none can start. */
  readonly state: "ok" | "note" | "bad";
  readonly found: string;
  readonly mend?: string;
}

/** Room that a start needs for its initramfs, sockets and logs. */
const LEAST_ROOM = 64 * MIB;

/** Every check, in the order in which a start would meet them. */
export async function diagnose(): Promise<Finding[]> {
  const engines = engine();
  return [
    ...engines,
    await checked("kernel", async () => usable(await kernelPath(), constants.R_OK)),
    await checked("guest", () => usable(initramfsPath(), constants.R_OK)),
    await checked("monitor", () => usable(vmmPath(), constants.X_OK)),
    network(),
    await checked("names", () => names()),
    await checked("runtime directory", () => room(runtimeBase())),
    transactions(),
    ...cages(engines.some(({ name, state }) => name === "QEMU" && state === "ok")),
  ];
}

/** What runs the processors, and why. */
function engine(): Finding[] {
  try {
    checkLibrary(); // what a probe has found before needs none
  } catch (error) {
    return [failed("library", error)];
  }
  try {
    const { engine, looks, notice } = chooseEngine("auto");
    const { cost, program } = ENGINES[engine] as Engine;
    const passed = looks.slice(0, -1);
    const reason = notice === undefined ? "because CAPSA_ENGINE says so" : `because ${passed.at(-1)!.found}`;
    const taken: Finding = cost
      ? { name: "engine", state: "note", found: `${engine}, ${reason}; ${cost.words}` }
      : { name: "engine", state: "ok", found: engine };
    const { what, found } = looks.at(-1)!;
    return [
      ...passed.flatMap(refused),
      { name: what, state: "ok", found: program ? version(found) : found },
      taken,
    ];
  } catch (error) {
    return [...refusals(), failed("engine", error)];
  }
}

function refused({ what, found, refusal }: Look): Finding[] {
  if (refusal === undefined) return [];
  return [{ name: what, state: "note", found, ...(refusal.hint ? { mend: refusal.hint } : {}) }];
}

/** Why the engines before the last one cannot be used: of that, the failure tells. */
function refusals(): Finding[] {
  try {
    return Object.values<Engine>(ENGINES)
      .slice(0, -1)
      .flatMap((engine) => refused(engine.look()));
  } catch {
    return []; // there is no library: the failure tells of that
  }
}

function version(qemu: string): string {
  const { stdout } = Bun.spawnSync([qemu, "--version"], { stdin: "ignore", stderr: "ignore" });
  const number = /version (\S+)/.exec(stdout.toString())?.[1];
  return number ? `${qemu}, version ${number}` : qemu;
}

/** A file of this installation, which this user has to be able to read, or to run. */
function usable(path: string, access: number): Omit<Finding, "name"> {
  try {
    accessSync(path, access);
    return { state: "ok", found: path };
  } catch {
    return {
      state: "bad",
      found: `${path} is not accessible to this user`,
      mend: `give access, or run \`make setup\` as this user`,
    };
  }
}

/** What the monitor of a sandbox with a network links with. */
function network(): Finding {
  const library = "libslirp.so.0";
  try {
    dlopen(library, { slirp_version_string: { returns: "cstring" } }).close();
    return { name: "network", state: "ok", found: library };
  } catch {
    const found = `${library} is not installed: sandboxes that have a network cannot start`;
    return { name: "network", state: "note", found, mend: "apt-get install libslirp0" };
  }
}

function room(directory: string): Omit<Finding, "name"> {
  const { bavail, bsize } = statfsSync(directory);
  const free = bavail * bsize;
  const found = `${directory}, ${Math.floor(free / MIB)} MiB free`;
  if (free >= LEAST_ROOM) return { state: "ok", found };
  return { state: "bad", found, mend: `make room: a start needs ${LEAST_ROOM / MIB} MiB there` };
}

/** Whether shares can have changes kept; a sandbox without such shares needs none of it. */
function transactions(): Finding {
  const name = "transactions";
  try {
    return { name, state: "ok", found: `changes can be kept in ${checkStaging()}` };
  } catch (error) {
    return { mend: "set XDG_STATE_HOME to a directory of yours", ...failed(name, error), state: "note" };
  }
}

function cages(withQemu: boolean): Finding[] {
  try {
    return confinement(withQemu ? qemuPath() : undefined);
  } catch (error) {
    return [failed("cage", error)];
  }
}

async function checked(
  name: string,
  check: () => Omit<Finding, "name"> | Promise<Omit<Finding, "name">>,
): Promise<Finding> {
  try {
    return { name, ...(await check()) };
  } catch (error) {
    return failed(name, error);
  }
}

function failed(name: string, error: unknown): Finding {
  const hint = error instanceof CapsaError ? error.hint : undefined;
  return { name, state: "bad", found: (error as Error).message, ...(hint ? { mend: hint } : {}) };
}

/** A line of `capsa-vmm confinement` (ffi/vmm/probe.h). */
interface Line {
  readonly process: string;
  readonly layer: string;
  readonly value: string;
  readonly detail: string;
}

/**
 * By confining a child as a sandbox's processes are: one finding each for capsa-vmm and, where that is to run, QEMU; and
 * one for the cgroup that holds both. Throws HostError where there is no monitor.
 */
export function confinement(qemu: string | undefined): Finding[] {
  const argv = [vmmPath(), "confinement", ...(qemu === undefined ? [] : [qemu])];
  const { stdout } = Bun.spawnSync(argv, { stdin: "ignore", stderr: "ignore" });
  const lines = stdout
    .toString()
    .split("\n")
    .map((line) => line.split("\t"))
    .filter((fields) => fields.length === 4)
    .map(
      ([process, layer, value, detail]): Line => ({
        process: process!,
        layer: layer!,
        value: value!,
        detail: detail!,
      }),
    );
  const cages = ["capsa-vmm", ...(qemu === undefined ? [] : ["qemu"])].map((process) =>
    describe(
      process,
      lines.filter((line) => line.process === process),
    ),
  );
  return [...cages, ...lines.filter(({ process }) => process === "cgroup").map(describeCgroup)];
}

function describeCgroup({ value, detail }: Line): Finding {
  const name = "cgroup";
  if (value === "1")
    return { name, state: "ok", found: "each sandbox's processes are held to a sum of memory" };
  return {
    name,
    state: "note",
    found: `none, so only each process by itself is held to so much memory: ${detail}`,
    mend: "run capsa where systemd runs for this user, or in a cgroup (version 2) that is delegated to this user",
  };
}

function describe(process: string, lines: readonly Line[]): Finding {
  const name = `cage of ${process === "qemu" ? "QEMU" : process}`;
  const exit = lines.find(({ layer }) => layer === "exit");
  if (lines.length === 0 || (exit !== undefined && exit.value !== "0")) {
    const mend =
      process === "qemu"
        ? "install QEMU whole: it may read its own prefix and /usr, nothing else"
        : "run `make setup` in capsa's directory";
    return { name, state: "bad", found: "it does not run, confined", mend };
  }
  const layers = lines.filter(({ layer }) => layer !== "exit");
  const missing = layers.filter(({ value }) => value !== "1");
  if (missing.length === 0)
    return { name, state: "ok", found: `every layer: ${layers.map(({ layer }) => layer).join(", ")}` };
  return {
    name,
    state: "note",
    found: `lacks ${missing.map(({ layer, detail }) => `${layer} (${detail})`).join(", ")}`,
    mend: missing.map(({ layer }) => mendOf(layer)).join("; "),
  };
}

function mendOf(layer: string): string {
  switch (layer) {
    case "namespaces":
      return mendOfNamespaces();
    case "files":
      return "run Linux 5.19 or newer with landlock among the modules of lsm= on its command line";
    case "syscalls":
      return "run a kernel with CONFIG_SECCOMP_FILTER";
    default:
      return "let this user lower its limits and drop its capabilities";
  }
}

function mendOfNamespaces(): string {
  const setting = (path: string) =>
    existsSync(`/proc/sys/${path}`) ? readFileSync(`/proc/sys/${path}`, "utf8").trim() : undefined;
  if (setting("user/max_user_namespaces") === "0") return "sysctl user.max_user_namespaces=10000";
  if (setting("kernel/unprivileged_userns_clone") === "0") return "sysctl kernel.unprivileged_userns_clone=1";
  if (setting("kernel/apparmor_restrict_unprivileged_userns") === "1")
    return "sysctl kernel.apparmor_restrict_unprivileged_userns=0";
  return "let this user make user namespaces; in a container, by a seccomp profile that allows clone and unshare";
}

const PATIENCE_MS = 2000;
/** The root's name servers (RFC 1035 section 4.1): each server has something to say to that. */
const QUESTION = Buffer.from("636101000001000000000000" + "0000020001", "hex");

export async function names(port = 53, host = hostNames()): Promise<Omit<Finding, "name">> {
  const { servers, fallback } = host;
  const found = await Promise.all(
    servers.map(async (server) => ({ server, wrong: await ask(server, port) })),
  );
  const from = fallback ? "/etc/resolv.conf names no server, so 127.0.0.1 is asked: " : "";
  const said = from + found.map(({ server, wrong }) => `${server} ${wrong ?? "answers"}`).join(", ");
  if (found.some(({ wrong }) => wrong === undefined)) return { state: fallback ? "note" : "ok", found: said };
  return {
    state: "note",
    found: `${said}; sandboxes with a network find no names`,
    mend: "name a server that answers in /etc/resolv.conf, or by `nameServers` of the sandbox's network",
  };
}

/** What is wrong with a server; undefined when it answers. */
function ask(server: string, port: number): Promise<string | undefined> {
  const socket = createSocket(isIP(server) === 6 ? "udp6" : "udp4");
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const timer = setTimeout(() => resolve(`does not answer within ${PATIENCE_MS / 1000} s`), PATIENCE_MS);
  socket.on("error", (error: NodeJS.ErrnoException) => resolve(`cannot be asked (${error.code})`));
  socket.on("message", () => resolve(undefined));
  socket.connect(port, server, () => socket.send(QUESTION));
  return promise.finally(() => {
    clearTimeout(timer);
    socket.close();
  });
}
