/** The verbs of a script, by name. */
import { assert } from "./assert.ts";
import { exec } from "./exec.ts";
import type { Outcome } from "./result.ts";
import type { Step } from "./step.ts";
import type { StepContext, Verb } from "./verb.ts";
import { write } from "./write.ts";

const verbs: { readonly [S in Step as S["verb"]]: Verb<S> } = { exec, write, assert };

export function carryOut(step: Step, context: StepContext): Promise<Outcome> {
  const verb = verbs[step.verb] as Verb<Step>;
  return verb(step, context);
}
