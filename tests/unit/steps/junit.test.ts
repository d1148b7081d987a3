/** The JUnit report, read back by a parser of XML that is not ours (Python's expat). */
import { expect, test } from "bun:test";
import type { StepResult } from "../../../src/steps/api.ts";
import { junitReport } from "../../../src/steps/report/junit.ts";

const READ = `
import sys, json, xml.etree.ElementTree as tree
def plain(e): return [e.tag, e.attrib, (e.text or '').strip('\\n '), [plain(c) for c in e]]
print(json.dumps(plain(tree.fromstring(sys.stdin.buffer.read()))))`;
type Element = [tag: string, attributes: Record<string, string>, text: string, children: Element[]];

function parse(xml: string): Element {
  const { stdout, stderr } = Bun.spawnSync(["python3", "-c", READ], { stdin: Buffer.from(xml) });
  expect(stderr.toString()).toBe("");
  return JSON.parse(stdout.toString());
}

function step(name: string, rest: Partial<StepResult>): StepResult {
  return {
    step: { verb: "exec", name, sandbox: "box", timeoutMs: 1, line: 7 },
    status: "passed",
    durationMs: 1234.5,
    mismatches: [],
    ...rest,
  };
}

function report(...steps: StepResult[]): string {
  const count = (status: string) => steps.filter((one) => one.status === status).length;
  const totals = { passed: count("passed"), failed: count("failed"), skipped: count("skipped") };
  return junitReport({ steps, ...totals, durationMs: 2000 }, "capsa.toml");
}

test("a step is a test case: passed, failed with what was expected, not carried out, skipped", () => {
  const mismatch = { subject: "exit code", expected: "0", seen: "1", hint: "look" };
  const [tag, totals, , suites] = parse(
    report(
      step("good", {}),
      step("bad", { status: "failed", mismatches: [mismatch], output: { stdout: "so\n", stderr: "" } }),
      step("lost", { status: "failed", error: { code: "GUEST_LOST", message: "it went" } }),
      step("rest", { status: "skipped" }),
    ),
  );
  const counts = { tests: "4", failures: "1", errors: "1", skipped: "1", time: "2.000" };
  expect([tag, totals]).toEqual(["testsuites", { name: "capsa", ...counts }]);
  expect(suites[0]!.slice(0, 2)).toEqual(["testsuite", { name: "capsa.toml", ...counts }]);
  const [good, bad, lost, rest] = suites[0]![3];
  const place = { classname: "box", file: "capsa.toml", line: "7" };
  expect(good).toEqual(["testcase", { name: "good", ...place, time: "1.234" }, "", []]);
  const message = "exit code: expected 0, seen 1";
  expect(bad![3]).toEqual([
    ["failure", { type: "mismatch", message }, "exit code\n  expected  0\n  seen      1\n  look", []],
    ["system-out", {}, "so", []],
  ]);
  expect(lost![3]).toEqual([["error", { type: "GUEST_LOST", message: "it went" }, "", []]]);
  expect(rest![3]).toEqual([["skipped", { message: "an earlier step failed" }, "", []]]);
});

test("whatever a guest prints, the report is XML, and tells it as far as XML can", () => {
  const every = Array.from({ length: 0x300 }, (_, code) => String.fromCharCode(code)).join("");
  const hostile = `${every}\ud800x\udfff\ufffe\uffff]]></system-out><a b='c'>&amp;&#0;\u{1f600}`;
  const [, , , [suite]] = parse(report(step(hostile, { output: { stdout: hostile, stderr: hostile } })));
  const [, { name }, , [stdout, stderr]] = suite![3][0]!;
  const [before, after] = stdout![2].split("\\ud800x\\udfff\ufffd\ufffd");
  expect(before).toStartWith("\\x00\\x01");
  expect(before).toContain("\\x08\t\n\\x0b\\x0c\\x0d");
  expect(after).toBe("]]></system-out><a b='c'>&amp;&#0;\u{1f600}");
  expect(stderr![2]).toBe(stdout![2]);
  expect(name).toBe(stdout![2]);
});

test("bytes that are not UTF-8, as a report has them", () => {
  const output = new TextDecoder().decode(Buffer.from([0xff, 0xc0, 0x80, 0xed, 0xa0, 0x80, 0x41]));
  const [, , , [suite]] = parse(report(step("x", { output: { stdout: output, stderr: "" } })));
  expect(suite![3][0]![3][0]![2]).toMatch(/^\ufffd+A$/);
});
