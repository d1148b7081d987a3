/** A raw VM as its callers see it. */

import type { Socket } from "node:net";
import type { EngineName } from "../engine/engines.ts";
import type { StartOptions, VsockPort } from "../sandbox/api.ts";
import type { VmConsole } from "./console_api.ts";

export interface DiskOptions {
  /** A raw image or a block device, whole sectors of 512 bytes. A relative path is taken from the working directory. */
  readonly path: string;
  /** The guest may read only (false): the host refuses what it writes. */
  readonly readOnly?: boolean;
}

export interface VmOptions {
  /** A bzImage, or an uncompressed ELF with a PVH note. A relative path is taken from the working directory. */
  readonly kernel: string;
  readonly initrd?: string;
  /**
   * The kernel's command line (`console=ttyS0 panic=-1`): the console is a serial port. QEMU's engine puts a few words about
   * its clocks before it, and with `acpi: false` both engines add where the devices are.
   */
  readonly cmdline?: string;
  /** Virtual processors (1). */
  readonly cpus?: number;
  /** Memory, MiB or a text with its unit (512). */
  readonly memoryMb?: number | string;
  /** virtio-blk disks: /dev/vda, /dev/vdb, … in this order. */
  readonly disks?: readonly DiskOptions[];
  /** A virtio vsock device (true). The guest's address is 3. */
  readonly vsock?: boolean;
  /**
   * Describe the machine by ACPI tables (true), as kernels of distributions want it. False is for a kernel without ACPI,
   * such as capsa's own: it gets an MP table and `virtio_mmio.device=` words.
   */
  readonly acpi?: boolean;
  /** Small letters, digits, dashes; made up without. */
  readonly name?: string;
  /** What runs the vCPUs (`"auto"`: KVM where it is of use). */
  readonly engine?: "auto" | EngineName;
  /** Confinement of the VMM's process, and of QEMU's, on the host (`"auto"`). */
  readonly confine?: "auto" | "require" | "none";
}

/** Why a VM ended. */
export interface VmExit {
  /** `shutdown`: its guest powered off, reset or panicked; `stopped`: the power was cut; `failed`: it broke. */
  readonly reason: "shutdown" | "stopped" | "failed";
  /** With `failed`: what broke. */
  readonly failure?: { readonly code: string; readonly message: string };
}

export interface VmStatus {
  readonly state: "created" | "starting" | "running" | "paused" | "ending" | "ended";
  readonly name: string;
  /** Known once it was started. */
  readonly engine: EngineName | undefined;
  /** Process id of the VMM while it runs. */
  readonly pid: number | undefined;
  /** Since its start, milliseconds; 0 when it does not run. */
  readonly uptimeMs: number;
  readonly cpus: number;
  readonly memoryMb: number;
}

/** What a guest connects to on the host. Disposing of it closes it. */
export interface VsockListener extends AsyncDisposable {
  readonly port: number;
  /** Path of the Unix socket behind it. */
  readonly path: string;
  /**
   * Take no more connections; those there are stay.
   * @example await listener.close();
   */
  close(): Promise<void>;
}

/**
 * A microVM with a kernel and an initrd of the caller's, and devices only: a serial console, disks, vsock, random
 * numbers. Nothing of capsa's runs in it. It lives once, and ends with the process that started it.
 * @example
 * await using vm = Capsa.vm({ kernel: "./vmlinuz", initrd: "./initrd", disks: [{ path: "./root.img" }] });
 * await vm.start();
 * await vm.console.login("root");
 * const { output } = await vm.console.exec("uname -r");
 */
export interface RawVm extends AsyncDisposable {
  readonly name: string;
  readonly console: VmConsole;

  /**
   * Start it; resolves once its vCPUs run. Throws `SpecError` for what cannot be, `HostError` for what this machine
   * lacks, `BootError` when the VMM cannot start it, `VmmError` `ALREADY_STARTED`, and the signal's reason.
   * @example await vm.start({ onNotice: ({ message }) => console.error(message) });
   */
  start(options?: Pick<StartOptions, "signal" | "onNotice">): Promise<void>;

  /**
   * Resolves when it has ended and nothing is left of it. Throws `VmmError` `NOT_STARTED`.
   * @example const { reason } = await vm.wait();
   */
  wait(): Promise<VmExit>;

  /**
   * End it. With `command`, that line is typed on the console, where a shell should read it, and the guest has
   * `graceMs` (10,000) to power off; then, and without `command` at once, the power is cut. What the guest has flushed
   * to its disks is there.
   * @example await vm.stop({ command: "poweroff" });
   */
  stop(options?: { readonly command?: string; readonly graceMs?: number }): Promise<VmExit>;

  /**
   * End it at once, as a power cut does.
   * @example await vm.kill();
   */
  kill(): Promise<VmExit>;

  /**
   * How it is.
   * @example const { state, uptimeMs } = await vm.status();
   */
  status(): Promise<VmStatus>;

  /**
   * Hold the vCPUs: the guest stands still until {@link resume}.
   * @example await vm.pause(); await vm.resume();
   */
  pause(): Promise<void>;

  /**
   * Let them go on.
   * @example await vm.pause(); await vm.resume();
   */
  resume(): Promise<void>;

  /**
   * The Unix socket of a port that the guest listens on: each connection to it is a stream to the port.
   * @example
   * const socket = vm.vsockSocket(1024);
   * await socket.opened;
   * const stream = net.connect(socket.path);
   */
  vsockSocket(port: number): VsockPort;

  /**
   * Take the guest's connections to a port of the host, which it knows as address 2.
   * @example
   * await using listener = await vm.vsockListen(1025, (stream) => stream.end("hello\n"));
   */
  vsockListen(port: number, onConnection: (stream: Socket) => void): Promise<VsockListener>;
}
