/**
 * A run as JUnit XML, in the form that CI servers read (https://github.com/testmoapp/junitxml): a suite, a test case a step.
 * Written by hand: the libraries for it are unkempt or large (lodash and xmlbuilder), and leave in what XML cannot hold.
 */
import { printable } from "../../errors/printable.ts";
import type { ProjectReport, StepResult } from "../api.ts";

/** `file` is where the steps were written; it names the suite. */
export function junitReport(run: ProjectReport, file: string): string {
  const errors = run.steps.filter(({ error }) => error !== undefined).length;
  const totals = {
    tests: run.steps.length,
    failures: run.failed - errors,
    errors,
    skipped: run.skipped,
    time: seconds(run.durationMs),
  };
  const cases = run.steps.map((result) => testCase(result, file));
  const suite = element("testsuite", { name: file, ...totals }, cases);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${element("testsuites", { name: "capsa", ...totals }, [suite])}`;
}

function testCase({ step, status, durationMs, mismatches, output, error }: StepResult, file: string): string {
  const children: string[] = [];
  if (error) children.push(element("error", { type: error.code, message: error.message }, []));
  else if (status === "failed") {
    const [first] = mismatches;
    const told = mismatches.map(
      ({ subject, expected, seen, hint }) =>
        `${subject}\n  expected  ${expected}\n  seen      ${seen}\n${hint ? `  ${hint}\n` : ""}`,
    );
    const message = first ? `${first.subject}: expected ${first.expected}, seen ${first.seen}` : "";
    children.push(element("failure", { type: "mismatch", message }, told.join("")));
  } else if (status === "skipped") {
    children.push(element("skipped", { message: "an earlier step failed" }, []));
  }
  if (output?.stdout) children.push(element("system-out", {}, output.stdout));
  if (output?.stderr) children.push(element("system-err", {}, output.stderr));
  const { name, sandbox, line } = step;
  return element("testcase", { name, classname: sandbox, file, line, time: seconds(durationMs) }, children);
}

type Attributes = Readonly<Record<string, string | number | undefined>>;

/** `contents`: a text, or elements, each on lines of its own. */
function element(name: string, attributes: Attributes, contents: string | readonly string[]): string {
  const given = Object.entries(attributes).filter(([, value]) => value !== undefined);
  const start = [name, ...given.map(([key, value]) => `${key}="${attribute(String(value))}"`)].join(" ");
  const inner = typeof contents === "string" ? text(contents) : contents.join("");
  if (inner === "") return `<${start}/>\n`;
  return `<${start}>${typeof contents === "string" ? "" : "\n"}${inner}</${name}>\n`;
}

const ENTITIES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

/**
 * As it may stand between tags. XML 1.0 has no way to write most control characters, half a surrogate pair, U+FFFE and
 * U+FFFF (section 2.2): the last two show as U+FFFD, the others as in the report for people.
 */
function text(value: string): string {
  return printable(value)
    .replace(/[\ufffe\uffff]/g, "\ufffd")
    .replace(/[&<>"]/g, (char) => ENTITIES[char]!);
}

/** A parser makes a blank of each line end and tab that is written as itself (section 3.3.3). */
function attribute(value: string): string {
  return text(value).replace(/[\t\n]/g, (char) => `&#${char.charCodeAt(0)};`);
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}
