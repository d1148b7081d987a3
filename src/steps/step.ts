/** The steps of a script as plain data: what is done in a sandbox, and what must come of it. */

/** All that are given must hold. */
export interface TextMatch {
  /** The whole text, to the byte. */
  readonly equals?: string;
  /** Each occurs in it. */
  readonly contains?: readonly string[];
  readonly matches?: RegExp;
}

interface StepBase {
  /** What reports call it. */
  readonly name: string;
  /** Name of the sandbox it runs in. */
  readonly sandbox: string;
  /** Milliseconds. */
  readonly timeoutMs: number;
  /** Line of the file it was written in, for reports. */
  readonly line?: number;
}

export interface ExecStep extends StepBase {
  readonly verb: "exec";
  readonly argv: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly stdin?: string;
  readonly expect: {
    /** A process ended by signal N counts as 128 + N. */
    readonly exitCode: number | "any";
    readonly stdout?: TextMatch;
    readonly stderr?: TextMatch;
  };
}

export interface WriteStep extends StepBase {
  readonly verb: "write";
  readonly file: string;
  /** What is written: a text, or the contents of a file of the host (absolute path), read when the step runs. */
  readonly contents: { readonly text: string } | { readonly from: string };
  readonly mode: number;
}

/** Of a file, or of what the sandbox has changed in its transactional shares. */
export type AssertStep = StepBase & { readonly verb: "assert" } & (FileAssertion | ChangesAssertion);

export interface FileAssertion {
  readonly file: string;
  readonly exists: boolean;
  readonly match?: TextMatch;
}

export interface ChangesAssertion {
  /** All there are, in any order: "created /project/a.txt". */
  readonly changes: readonly string[];
}

export type Step = ExecStep | WriteStep | AssertStep;
