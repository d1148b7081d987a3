/** Prometheus's text format: what a scraper reads of sandboxes. */
import { expect, test } from "bun:test";
import { prometheusText, type Sample } from "../../../src/cli/verbs/metrics.ts";

const plain: Sample = {
  name: "plain",
  id: "00000001",
  labels: {},
  metrics: {
    state: "paused",
    uptimeMs: 1500,
    cpuMs: 250,
    memory: { sizeBytes: 1024, residentBytes: 512 },
    shares: { readBytes: 1, writtenBytes: 2, requests: 3 },
  },
};
const networked: Sample = {
  name: "networked",
  id: "00000002",
  labels: {},
  metrics: {
    ...plain.metrics,
    state: "running",
    memory: { ...plain.metrics.memory, guestTotalBytes: 1000, guestAvailableBytes: 700 },
    network: { receivedBytes: 3, sentBytes: 4 },
  },
};

test("each family has its head once, base units, and a line for each sandbox that has it", () => {
  const text = prometheusText([plain, networked]);
  for (const line of text.trimEnd().split("\n"))
    expect(line).toMatch(
      /^(# HELP capsa_sandbox_[a-z_]+ .+\.|# TYPE capsa_sandbox_[a-z_]+ (counter|gauge)|capsa_sandbox_[a-z_]+\{name="[a-z]+",id="\d+"\} [\d.]+)$/,
    );
  expect(text.match(/^# TYPE (\S+) counter$/gm)!.every((line) => line.includes("_total "))).toBe(true);
  expect(new Set(text.match(/^# HELP \S+/gm)).size).toBe(text.match(/^# HELP /gm)!.length);
  expect(text).toContain(`
# HELP capsa_sandbox_cpu_seconds_total Processor time of the host that the sandbox has used.
# TYPE capsa_sandbox_cpu_seconds_total counter
capsa_sandbox_cpu_seconds_total{name="plain",id="00000001"} 0.25
capsa_sandbox_cpu_seconds_total{name="networked",id="00000002"} 0.25
`);
  expect(text.match(/^capsa_sandbox_up\{.*/gm)).toEqual([
    'capsa_sandbox_up{name="plain",id="00000001"} 0',
    'capsa_sandbox_up{name="networked",id="00000002"} 1',
  ]);
  expect(text.match(/^capsa_sandbox_memory_available_bytes.*/gm)).toHaveLength(1);
});

test("labels are told by names that cannot be another's, with what has to be escaped", () => {
  const labels = { team: "x", id: 'a "b" \\ c' };
  expect(prometheusText([{ ...plain, labels }])).toContain(
    'capsa_sandbox_up{name="plain",id="00000001",label_team="x",label_id="a \\"b\\" \\\\ c"} 0',
  );
});

test("what nobody has is left out, and nobody is nothing", () => {
  expect(prometheusText([plain])).not.toContain("network");
  expect(prometheusText([])).toBe("");
});
