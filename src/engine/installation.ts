/** Where the parts of this installation are: library, monitor, guest, kernel, QEMU. */

import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { HostError } from "../errors.ts";

/** A package from npm brings all of it along; a clone builds it. */
const setUp = () =>
  existsSync(packagePath(".ci", "setup"))
    ? "run `make setup` in capsa's directory"
    : "install the package again: `npm install capsa`";

/** Something of this package: above this file or, in the compiled command line, above the directory that is in. */
export function packagePath(...parts: readonly string[]): string {
  const root = Bun.isStandaloneExecutable
    ? resolve(process.execPath, "../..")
    : resolve(import.meta.dirname, "../..");
  return join(root, ...parts);
}

/** Directory of libcapsa and capsa-vmm: `CAPSA_LIB_DIR`, or the package's build directory. */
export function libraryDirectory(): string {
  return process.env.CAPSA_LIB_DIR || packagePath("build");
}

/** The monitor's program, with libslirp in it or, sooner to start, without. Throws {@link HostError} `VMM_MISSING`. */
export function vmmPath(use?: { readonly network: boolean }): string {
  const name = use?.network ? "capsa-vmm-net" : "capsa-vmm";
  return present(join(libraryDirectory(), name), "VMM_MISSING", "the machine monitor");
}

/** The base initramfs: `CAPSA_INITRAMFS`, or what guest/ built. Throws {@link HostError} `GUEST_MISSING`. */
export function initramfsPath(): string {
  const path = process.env.CAPSA_INITRAMFS || packagePath("build", "initramfs.cpio");
  return present(path, "GUEST_MISSING", "the guest's initramfs");
}

let builtKernel: Promise<string> | undefined;

/**
 * capsa's own kernel: `CAPSA_KERNEL`, the one that came with the package, or what kernel/build.sh built. Rejects with
 * {@link HostError} `KERNEL_MISSING`.
 */
export function kernelPath(): Promise<string> {
  if (process.env.CAPSA_KERNEL) return Promise.resolve(process.env.CAPSA_KERNEL);
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

/**
 * The directory in which kernel/build.sh finds the kernel that came with the package; undefined where none did, or
 * `CAPSA_CACHE` says otherwise.
 */
export function packedCache(): string | undefined {
  if (process.env.CAPSA_CACHE) return undefined;
  const key = kernelKey();
  const cache = packagePath("build");
  return key !== undefined && existsSync(kernelIn(cache, key)) ? cache : undefined;
}

/** Where the kernel should be, by the rule of kernel/build.sh, which takes a while to start and has the last word. */
export function cachedKernel(): string | undefined {
  const key = kernelKey();
  const cache =
    packedCache() ||
    process.env.CAPSA_CACHE ||
    join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "capsa");
  return key && kernelIn(cache, key);
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
  const child = Bun.spawn([script, "path"], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const [path, complaint] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) === 0) return path.trim();
  throw new HostError("KERNEL_MISSING", `there is no kernel to boot: ${complaint.trim()}`, { hint: setUp() });
}

/** QEMU for this processor: `CAPSA_QEMU`, or from PATH. Throws {@link HostError} `QEMU_MISSING`. */
export function qemuPath(): string {
  const chosen = process.env.CAPSA_QEMU;
  if (chosen) return present(chosen, "QEMU_MISSING", "QEMU (CAPSA_QEMU)");
  const name = process.arch === "arm64" ? "qemu-system-aarch64" : "qemu-system-x86_64";
  const found = Bun.which(name) ?? `/usr/bin/${name}`;
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
