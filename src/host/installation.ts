/** Where the parts of this installation are: library, monitor, guest, kernel, QEMU. */

import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { HostError } from "../errors/errors.ts";
import { findProgram, searchPath } from "./environment.ts";
import { absolute, cacheHome } from "./homes.ts";

/** A package from npm brings all of it along; a clone builds it. */
const setUp = () =>
  existsSync(packagePath("scripts", "setup"))
    ? "run `make setup` in capsa's directory"
    : "install the package again: `npm install capsa`";

/** Something of this package: above this file or, in the compiled command line, above the directory that is in. */
export function packagePath(...parts: readonly string[]): string {
  const root = Bun.isStandaloneExecutable
    ? resolve(process.execPath, "../..")
    : resolve(import.meta.dirname, "../..");
  return join(root, ...parts);
}

/** What starts Bun for a program of this package. */
export const BUN = packagePath("src", "host", "bun.sh");

/** Directory of libcapsa and capsa-vmm: `CAPSA_LIB_DIR`, or the package's build directory. */
export function libraryDirectory(): string {
  const { CAPSA_LIB_DIR } = process.env;
  return absolute({ CAPSA_LIB_DIR }) ?? packagePath("build");
}

/** The monitor's program, with libslirp in it or, sooner to start, without. Throws {@link HostError} `VMM_MISSING`. */
export function vmmPath(use?: { readonly network: boolean }): string {
  const name = use?.network ? "capsa-vmm-net" : "capsa-vmm";
  return present(join(libraryDirectory(), name), "VMM_MISSING", "the machine monitor");
}

/** The base initramfs: `CAPSA_INITRAMFS`, or what guest/ built. Throws {@link HostError} `GUEST_MISSING`. */
export function initramfsPath(): string {
  const { CAPSA_INITRAMFS } = process.env;
  const path = absolute({ CAPSA_INITRAMFS }) ?? packagePath("build", "initramfs.cpio");
  return present(path, "GUEST_MISSING", "the guest's initramfs");
}

let builtKernel: Promise<string> | undefined;

/**
 * capsa's own kernel: `CAPSA_KERNEL`, the one that came with the package, or what kernel/build.sh built. Rejects with
 * {@link HostError} `KERNEL_MISSING`.
 */
export async function kernelPath(): Promise<string> {
  const { CAPSA_KERNEL } = process.env;
  const chosen = absolute({ CAPSA_KERNEL });
  if (chosen !== undefined) return chosen;
  builtKernel ??= findKernel().catch((error) => {
    builtKernel = undefined; // it may be built by the next time
    throw error;
  });
  return builtKernel;
}

async function findKernel(): Promise<string> {
  const path = cachedKernel();
  return path !== undefined && existsSync(path) ? path : askBuild();
}

/** Where the kernel should be, by the rule of kernel/build.sh, which takes a while to start and has the last word. */
export function cachedKernel(): string | undefined {
  const key = kernelKey();
  return key && kernelIn(kernelCache(key), key);
}

/**
 * The environment of kernel/build.sh: a kernel that came with the package counts as built, and no program is looked for in
 * the working directory. Throws {@link HostError}.
 */
export function buildEnvironment(): Record<string, string | undefined> {
  return { ...process.env, PATH: searchPath(), CAPSA_CACHE: kernelCache(kernelKey()) };
}

/** `CAPSA_CACHE`, else the package where the kernel came with it, else the user's own. */
function kernelCache(key: string | undefined): string {
  const { CAPSA_CACHE } = process.env;
  const chosen = absolute({ CAPSA_CACHE });
  if (chosen !== undefined) return chosen;
  const packed = packagePath("build");
  return key !== undefined && existsSync(kernelIn(packed, key)) ? packed : join(cacheHome(), "capsa");
}

function kernelIn(cache: string, key: string): string {
  return join(cache, "kernel", key, "vmlinux");
}

/** The hash of what the kernel is made from; undefined where that is not there. */
function kernelKey(): string | undefined {
  const arch = process.arch === "x64" ? "x86_64" : "aarch64";
  const hash = new Bun.CryptoHasher("sha256");
  try {
    const patches = readdirSync(packagePath("kernel", "patches"))
      .filter((name) => name.endsWith(".patch"))
      .sort();
    const parts = [
      "kernel.lock",
      `${arch}.config`,
      "build.sh",
      ...patches.map((name) => join("patches", name)),
    ];
    for (const part of parts) hash.update(readFileSync(packagePath("kernel", part)));
  } catch {
    return undefined;
  }
  return hash.digest("hex").slice(0, 24);
}

async function askBuild(): Promise<string> {
  const script = present(packagePath("kernel", "build.sh"), "KERNEL_MISSING", "the kernel's build script");
  const env = buildEnvironment();
  const child = Bun.spawn([script, "path"], { env, stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [path, complaint] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) === 0) return path.trim();
  throw new HostError("KERNEL_MISSING", `there is no kernel to boot: ${complaint.trim()}`, { hint: setUp() });
}

/** QEMU for this processor: `CAPSA_QEMU`, or from PATH. Throws {@link HostError} `QEMU_MISSING`. */
export function qemuPath(): string {
  const { CAPSA_QEMU } = process.env;
  const chosen = absolute({ CAPSA_QEMU });
  if (chosen !== undefined) return present(chosen, "QEMU_MISSING", "QEMU (CAPSA_QEMU)");
  const name = process.arch === "arm64" ? "qemu-system-aarch64" : "qemu-system-x86_64";
  const found = findProgram(name) ?? `/usr/bin/${name}`;
  try {
    accessSync(found, constants.X_OK);
    return found;
  } catch (cause) {
    throw new HostError("QEMU_MISSING", `${name} is not installed, and this machine has no usable KVM`, {
      hint: "apt-get install qemu-system-x86, or point CAPSA_QEMU at it",
      cause,
    });
  }
}

function present(path: string, code: string, what: string): string {
  if (existsSync(path)) return path;
  throw new HostError(code, `${what} is not at ${path}`, { hint: setUp() });
}
