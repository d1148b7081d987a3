/** The peer that boots what capsa boots: QEMU's microvm on KVM, with the vsock device of the lab's kernel. */
import { openSync } from "node:fs";
import { join } from "node:path";
import type { Place } from "./measure.ts";

/** The guest's event stream goes to this port of the host (src/sandbox/plan.ts). */
const EVENTS_PORT = 53;
const CID = 42;

export interface Microvm {
  readonly kernel: string;
  readonly initrd: string;
  readonly memoryMb: number;
  readonly cmdline: string;
  readonly extra?: readonly string[];
}

/**
 * QEMU with the fewest parts that this guest can do with: no ACPI tables, no option ROMs (qboot finds a PVH kernel
 * without), no PIT, no PIC, no serial port, and its clock kept, for want of which Linux waits a second.
 */
export function qemu({ kernel, initrd, memoryMb, cmdline, extra = [] }: Microvm): string[] {
  return [
    ...["qemu-system-x86_64", "-accel", "kvm", "-cpu", "host", "-smp", "1", "-m", `${memoryMb}M`],
    ...["-M", "microvm,acpi=off,pit=off,pic=off,rtc=on,isa-serial=off,x-option-roms=off"],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-global", "virtio-mmio.force-legacy=false"],
    ...["-kernel", kernel, "-initrd", initrd, "-append", cmdline],
    ...extra,
  ];
}

/** The devices that a sandbox without shares has. */
export function sandboxDevices(console: string): string[] {
  return [
    ...["-device", `vhost-vsock-device,guest-cid=${CID}`],
    ...["-device", "virtio-rng-device"],
    ...["-chardev", `file,id=console,path=${console}`],
    ...["-device", "virtio-serial-device,max_ports=1", "-device", "virtconsole,chardev=console"],
  ];
}

/** Start `argv`, its words kept in `log`. */
export function start(argv: readonly string[], log: string): Bun.Subprocess {
  const words = openSync(log, "w");
  return Bun.spawn([...argv], { stdio: ["ignore", words, words] });
}

/** Hears when a guest of QEMU's says that its agent listens. */
export class Listener implements AsyncDisposable {
  readonly #process: Bun.Subprocess<"ignore", "pipe", "inherit">;
  readonly #lines: AsyncIterator<Uint8Array>;

  private constructor(place: Place) {
    this.#process = Bun.spawn([join(place.out, "ready"), String(EVENTS_PORT)], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#lines = this.#process.stdout[Symbol.asyncIterator]();
  }

  static async open(place: Place): Promise<Listener> {
    const listener = new Listener(place);
    await listener.next();
    return listener;
  }

  /** The next guest is ready. */
  async next(): Promise<void> {
    if ((await this.#lines.next()).done) throw new Error("the listener on vsock has ended");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.kill();
    await this.#process.exited;
  }
}

/** Rejects when `peer` ends before `ready`, and ends it when that takes longer than `seconds`. */
export async function until(
  ready: Promise<void>,
  peer: Bun.Subprocess,
  log: string,
  seconds = 60,
): Promise<void> {
  const ended = peer.exited.then(async (code) => {
    throw new Error(`QEMU ended with ${code} before its guest was ready: ${await Bun.file(log).text()}`);
  });
  const late = Bun.sleep(seconds * 1000).then(async () => {
    peer.kill();
    throw new Error(`QEMU's guest was not ready after ${seconds} s: ${await Bun.file(log).text()}`);
  });
  ended.catch(() => {});
  late.catch(() => {});
  await Promise.race([ready, ended, late]);
}
