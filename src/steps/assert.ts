/**
 * `assert`: a file in the sandbox is there, or is not, and holds what it should; or the sandbox has changed in its
 * transactional shares what it should, and nothing else.
 */
import { type Static, Type } from "@sinclair/typebox";
import { headline } from "../changes/diff.ts";
import { closed, guestPath, optional, type Path } from "../spec/forms.ts";
import type { Outcome } from "./api.ts";
import type { StepKind, StepOf, StepPlace } from "./kind.ts";
import {
  COMPARABLE,
  mismatches,
  quote,
  resolveMatch,
  type TextMatch,
  TextMatchSchema,
  tooLong,
} from "./match.ts";

export interface FileAssertion {
  readonly file: string;
  readonly exists: boolean;
  readonly match?: TextMatch;
}

export interface ChangesAssertion {
  /** All there are, in any order: "created /project/a.txt". */
  readonly changes: readonly string[];
}

export type AssertStep = StepOf<"assert", FileAssertion | ChangesAssertion>;

/** As `headline` of the changes words one: another text would never hold. */
const CHANGE = "^((created|modified|deleted|type|mode) /|renamed /.* to /)";

const schema = Type.Object({
  assert: Type.Object(
    {
      file: optional(guestPath("The file.")),
      exists: optional(
        Type.Boolean({
          description: "true (the default): the file exists; false: it does not.",
          expected: "true or false",
        }),
      ),
      ...TextMatchSchema.properties,
      changes: optional(
        Type.Array(Type.String({ pattern: CHANGE, expected: 'a change such as "created /project/a.txt"' }), {
          description:
            'Or: every change in shares with mode = "transaction", in any order, as `capsa diff --summary` shows it ' +
            'without brackets: "created /project/a.txt", "renamed /project/a to /project/b"; [] for none.',
          expected: 'a list of changes such as ["created /project/a.txt"]',
        }),
      ),
    },
    {
      ...closed,
      description: "Check a file in the guest, or the changes in transactional shares.",
      expected: 'a table such as { file = "/a" }',
    },
  ),
});

const example = `
[[steps]]
# exists: true (default) or false. equals, contains, matches: as above.
assert = { file = "/tmp/tool/count.sh", exists = true, equals = "exec wc -l", contains = "wc", matches = '^exec' }

[[steps]]
# Every change in shares with mode = "transaction", in any order; [] for none.
assert = { changes = ["created /generated/data.csv"] }
`;

type Table = Static<typeof schema>["assert"];

export const assert: StepKind<FileAssertion | ChangesAssertion, typeof schema> = {
  schema,
  example,

  resolve({ assert: table }, place) {
    const { file, changes, exists = true, ...match } = table;
    const at = [...place.path, "assert"];
    if (changes !== undefined) return resolveChanges({ ...table, changes }, at, place);
    if (file === undefined) {
      place.report(at, "the step does not say what to assert", 'add file = "/a", or changes = […]');
      return { file: "/", exists };
    }
    const asked = Object.keys(match);
    if (!exists && asked.length > 0) {
      place.report(
        [...at, asked[0]!],
        `${asked[0]} asks for the contents of a file that must not exist`,
        "drop one of the two",
      );
    }
    return { file, exists, ...(asked.length > 0 ? { match: resolveMatch(match, at, place.report) } : {}) };
  },

  title: ({ assert: { file } }) => `assert ${file ?? "changes"}`,

  async run(step, { agent, changes, signal }) {
    if ("changes" in step) return assertChanges(step.changes, (await changes()).map(headline));
    const exists = await agent.exists(step.file, { signal });
    if (exists !== step.exists) {
      const tell = (there: boolean) => (there ? "exists" : "does not exist");
      return { mismatches: [{ subject: step.file, expected: tell(step.exists), seen: tell(exists) }] };
    }
    if (!step.match) return { mismatches: [] };
    const bytes = await agent.readFile(step.file, { length: COMPARABLE + 1, signal });
    if (bytes.length > COMPARABLE) return { mismatches: [tooLong(step.file)] };
    return { mismatches: mismatches(step.file, bytes, step.match) };
  },
};

function resolveChanges(
  { changes, ...rest }: Table & { changes: string[] },
  at: Path,
  { sandbox, report }: StepPlace,
): ChangesAssertion {
  const [other] = Object.keys(rest);
  if (other !== undefined)
    report(
      [...at, other],
      `${other} is about a file, and this is about changes`,
      "make them steps of their own",
    );
  if (sandbox?.keepsChanges === false) {
    report(
      [...at, "changes"],
      `sandbox "${sandbox.name}" has no share that keeps changes`,
      'give one of its shares mode = "transaction"',
    );
  }
  return { changes };
}

function assertChanges(wanted: readonly string[], seen: readonly string[]): Outcome {
  const missing = wanted.filter((change) => !seen.includes(change));
  const extra = seen.filter((change) => !wanted.includes(change));
  if (missing.length + extra.length === 0) return { mismatches: [] };
  const list = (changes: readonly string[]) =>
    changes.length === 0 ? "nothing" : changes.map(quote).join(", ");
  const mismatch = { subject: "changes", expected: list(wanted), seen: list(seen) };
  const differs = [
    ...(missing.length > 0 ? [`missing: ${list(missing)}`] : []),
    ...(extra.length > 0 ? [`not expected: ${list(extra)}`] : []),
  ];
  return {
    mismatches: [seen.length + wanted.length > 2 ? { ...mismatch, hint: differs.join("; ") } : mismatch],
  };
}
