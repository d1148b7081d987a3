/** Which layers of confinement this machine applies to the processes of a sandbox, for `capsa doctor`. */
import { existsSync, readFileSync } from "node:fs";
import { vmmPath } from "../host/installation.ts";
import type { Finding } from "./diagnosis.ts";

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
