/** What a kind of step is: everything about it in one record, in a file of its own. A step is plain data. */
import type { Static, TObject } from "@sinclair/typebox";
import type { Agent } from "../agent/api.ts";
import type { Change } from "../changes/api.ts";
import type { LogEntry } from "../sandbox/api.ts";
import type { Path, Reporter } from "../spec/forms.ts";
import type { Outcome, ProjectStep } from "./api.ts";

/** `What`: what a step of this kind is to do, as its run wants it. */
export interface StepKind<What, Schema extends TObject = TObject> {
  /** Its keys of a [[steps]] table. The one with the kind's name makes a step one of this kind; the others go with it. */
  readonly schema: Schema;
  /** What the table asks for. All that is wrong with it is reported; what is given back is not used then. */
  resolve(table: Static<Schema>, place: StepPlace): What;
  /** What reports call a step that has no name. */
  title(table: Static<Schema>): string;
  /** Carries a step out. Rejects where it could not be carried out; an expectation that is not met is an outcome. */
  run(step: What & ProjectStep, context: StepContext): Promise<Outcome>;
  /** `run` gives an outcome soon after the step's time is over, by itself; else the runner ends it. */
  readonly keepsTime?: true;
  /** In TOML: every key, with what it does. The kinds' examples run one after the other in one sandbox. */
  readonly example: string;
}

export type StepOf<Verb extends string, What> = ProjectStep & { readonly verb: Verb } & What;

/** What a step's table is resolved with. */
export interface StepPlace {
  /** Of the table. */
  readonly path: Path;
  /** Directory of the file. */
  readonly base: string;
  /** Undefined where the file has none of that name, which has been reported. */
  readonly sandbox: StepSandbox | undefined;
  readonly report: Reporter;
}

/** What steps want to know of a sandbox of the file. */
export interface StepSandbox {
  readonly name: string;
  readonly cwd?: string | undefined;
  /** It has a main process. */
  readonly hasMain: boolean;
  /** It has a transactional share. */
  readonly keepsChanges: boolean;
}

export interface StepContext {
  readonly agent: Agent;
  /** What the sandbox has changed in its transactional shares. */
  readonly changes: () => Promise<readonly Change[]>;
  /** What its main process has printed so far. */
  readonly printed: () => Promise<readonly LogEntry[]>;
  /** Aborts when the step is to end: by the user and, unless the kind keeps the time, by its timeout. A run rejects then. */
  readonly signal: AbortSignal;
  /** Told of output as it comes. */
  readonly onOutput: (stream: "stdout" | "stderr", chunk: Uint8Array) => void;
}
