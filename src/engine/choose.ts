/** Which engine runs a sandbox, and what to tell the user about it. */

import { HostError, type Notice } from "../errors/errors.ts";
import type { Engine, Look } from "./engine.ts";
import { ENGINE_NAMES, ENGINES, type EngineName } from "./engines.ts";

interface Choice {
  readonly engine: EngineName;
  /** What was looked at, the engine that was taken last. */
  readonly looks: readonly Look[];
  /** Where the choice costs something that was not asked for. */
  readonly notice?: Notice;
}

/**
 * The engine for what was asked: `auto` is `CAPSA_ENGINE`, else the first that can be used here. Throws {@link HostError}:
 * the refusal of the engine that was asked for by name, or of the last one.
 */
export function chooseEngine(
  asked: "auto" | EngineName,
  environment: string | undefined = process.env.CAPSA_ENGINE,
  engines: Readonly<Record<EngineName, Engine>> = ENGINES,
): Choice {
  const wanted = asked === "auto" ? fromEnvironment(environment) : asked;
  const looks: Look[] = [];
  for (const engine of wanted === "auto" ? ENGINE_NAMES : [wanted]) {
    const before = looks.at(-1);
    const look = engines[engine].look();
    looks.push(look);
    if (look.refusal !== undefined) continue;
    const { cost } = engines[engine];
    if (before === undefined || cost === undefined) return { engine, looks };
    const message = `engine ${engine}: ${before.found}; ${cost.words}`;
    return { engine, looks, notice: { code: cost.code, message } };
  }
  throw looks.at(-1)!.refusal;
}

function fromEnvironment(value: string | undefined): "auto" | EngineName {
  if (value === undefined || value === "") return "auto";
  const known = (["auto", ...ENGINE_NAMES] as const).find((name) => name === value);
  if (known !== undefined) return known;
  throw new HostError(
    "SPEC_INVALID",
    `CAPSA_ENGINE is "${value}"; it may be auto, ${ENGINE_NAMES.join(" or ")}`,
  );
}
