/** The peers: plain QEMU microvms, as one would start them by hand, and an initramfs for them. */
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { $ } from "bun";

export const root = join(import.meta.dir, "../..");

/** A fresh directory that goes with the returned object. */
export function temporary(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "capsa-bench-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export async function capsaKernel(): Promise<string> {
  return (await $`${root}/kernel/build.sh path`.text()).trim();
}

export async function cloudKernel(): Promise<string> {
  return join((await $`${root}/tests/lab/machine.sh`.text()).trim(), "vmlinuz");
}

/** An initramfs in `directory` whose /init prints a line and stops. */
export async function printAndStop(directory: string): Promise<string> {
  const tree = join(directory, "print-and-stop");
  mkdirSync(join(tree, "dev"), { recursive: true });
  await $`musl-gcc -static -Os -o ${tree}/init ${import.meta.dir}/print_and_stop.c`;
  await $`mknod ${tree}/dev/console c 5 1`;
  return await pack(tree, join(directory, "print-and-stop.cpio"));
}

/** capsa's base initramfs with an /init that mounts the share `bench` and runs the share benchmark's workload. */
export async function workloadInitramfs(directory: string, rounds: number): Promise<string> {
  const workload = join(import.meta.dir, "workload.sh");
  return await baseInitramfs(
    directory,
    [workload],
    `mkdir -p /share
mount -t virtiofs bench /share
/workload.sh /share ${rounds}`,
  );
}

/** capsa's base initramfs with the programs in its root and an /init that does what `script` says, and stops. */
export async function baseInitramfs(
  directory: string,
  programs: readonly string[],
  script: string,
): Promise<string> {
  const tree = join(directory, "workload");
  await $`mkdir ${tree} && cd ${tree} && cpio -idm --quiet < ${root}/build/initramfs.cpio`;
  for (const program of programs) cpSync(program, join(tree, basename(program)));
  rmSync(join(tree, "init"));
  const init = `#!/bin/sh\nmount -t proc proc /proc\nmount -t devtmpfs dev /dev\n${script}\nreboot -f\n`;
  await Bun.write(join(tree, "init"), init);
  chmodSync(join(tree, "init"), 0o755);
  return await pack(tree, join(directory, "workload.cpio"));
}

async function pack(tree: string, file: string): Promise<string> {
  await $`cd ${tree} && find . | cpio -o -H newc --quiet > ${file}`;
  return file;
}

/**
 * Boot a microvm under TCG and return what it wrote to its serial port once it has stopped. Debian's cloud kernel now and
 * then stands still in it for ever, where a busy host disturbed its measuring of the TSC, its only clock there, so a boot
 * that takes longer than `limit` seconds throws {@link Stuck}.
 */
export async function microvm(
  kernel: string,
  initrd: string,
  {
    extra = [],
    memory = "256M",
    limit = 20,
  }: { extra?: readonly string[]; memory?: string; limit?: number } = {},
): Promise<string> {
  const machine = ["-M", "microvm", "-accel", "tcg,thread=multi", "-cpu", "max", "-m", memory, "-no-reboot"];
  const quiet = ["-nodefaults", "-no-user-config", "-nographic", "-serial", "stdio"];
  const what = ["-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet reboot=t panic=-1"];
  const run = await $`timeout ${limit} qemu-system-x86_64 ${machine} ${quiet} ${what} ${extra} < /dev/null`
    .nothrow()
    .quiet();
  if (run.exitCode === 124)
    throw new Stuck(`QEMU was still running after ${limit} s${lastWords(run.stdout.toString())}`);
  if (run.exitCode !== 0) throw new Error(`QEMU ended with exit code ${run.exitCode}: ${run.stderr}`);
  return run.stdout.toString();
}

/** The end of what a guest has written to its console, for the end of a message. */
export function lastWords(console: string): string {
  const lines = console.trimEnd().split("\n").slice(-20);
  return `; its console ended with\n${lines.map((line) => `  | ${line}\n`).join("")}`;
}

/** A peer that stood still. */
export class Stuck extends Error {}
