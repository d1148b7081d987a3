/** Metrics of sandboxes in Prometheus's text format, version 0.0.4. */
import type { SandboxMetrics } from "../sandbox/api.ts";

/** One sandbox and what it uses. */
export interface Sample {
  readonly name: string;
  readonly id: string;
  readonly metrics: SandboxMetrics;
}

interface Family {
  /** After "capsa_sandbox_"; base units, and `_total` for what only grows. */
  readonly name: string;
  readonly type: "counter" | "gauge";
  readonly help: string;
  /** Undefined: this sandbox has none. */
  readonly value: (metrics: SandboxMetrics) => number | undefined;
}

const families: readonly Family[] = [
  {
    name: "up",
    type: "gauge",
    help: "1 while the sandbox's processors run, 0 while it is paused, starting or ending.",
    value: ({ state }) => (state === "running" ? 1 : 0),
  },
  {
    name: "uptime_seconds",
    type: "gauge",
    help: "Time since the start of the sandbox.",
    value: ({ uptimeMs }) => uptimeMs / 1000,
  },
  {
    name: "cpu_seconds_total",
    type: "counter",
    help: "Processor time of the host that the sandbox has used.",
    value: ({ cpuMs }) => cpuMs / 1000,
  },
  {
    name: "memory_size_bytes",
    type: "gauge",
    help: "Memory that the guest was given.",
    value: ({ memory }) => memory.sizeBytes,
  },
  {
    name: "memory_current_bytes",
    type: "gauge",
    help: "Memory that the guest is left with, as the guest says.",
    value: ({ memory }) => memory.currentBytes,
  },
  {
    name: "memory_resident_bytes",
    type: "gauge",
    help: "Memory of the host that the sandbox holds.",
    value: ({ memory }) => memory.residentBytes,
  },
  {
    name: "memory_available_bytes",
    type: "gauge",
    help: "Memory that the guest's programs could still have, as the guest says.",
    value: ({ memory }) => memory.guestAvailableBytes,
  },
  {
    name: "shares_read_bytes_total",
    type: "counter",
    help: "Bytes of files that the guest has read from the host.",
    value: ({ shares }) => shares.readBytes,
  },
  {
    name: "shares_written_bytes_total",
    type: "counter",
    help: "Bytes of files that the guest has written to the host.",
    value: ({ shares }) => shares.writtenBytes,
  },
  {
    name: "network_receive_bytes_total",
    type: "counter",
    help: "Bytes of Ethernet frames that the guest has received.",
    value: ({ network }) => network?.receivedBytes,
  },
  {
    name: "network_transmit_bytes_total",
    type: "counter",
    help: "Bytes of Ethernet frames that the guest has sent.",
    value: ({ network }) => network?.sentBytes,
  },
];

/** All families in order, each with a line a sandbox; a family that nobody has is left out. */
export function prometheusText(samples: readonly Sample[]): string {
  return families
    .map(({ name, type, help, value }) => {
      const lines = samples.flatMap((sample) => {
        const number = value(sample.metrics);
        const labels = `name="${sample.name}",id="${sample.id}"`; // neither has a character to be escaped
        return number === undefined ? [] : [`capsa_sandbox_${name}{${labels}} ${number}\n`];
      });
      const head = `# HELP capsa_sandbox_${name} ${help}\n# TYPE capsa_sandbox_${name} ${type}\n`;
      return lines.length === 0 ? "" : head + lines.join("");
    })
    .join("");
}
