/** From a name to a VMM that runs: what the starts of sandboxes and of raw VMs have in common. */

import { chooseEngine } from "../engine/choose.ts";
import type { Engine } from "../engine/engine.ts";
import { ENGINES, type EngineName } from "../engine/engines.ts";
import { startVmm } from "../engine/library.ts";
import type { Notice } from "../errors/errors.ts";
import { vmmPath } from "../host/installation.ts";
import { recall, remember } from "../host/remembered.ts";
import type { PublishedPort } from "../network/spec.ts";
import { encodeCbor } from "../wire/framing.ts";
import { claim, type Place, type Subject } from "./claim.ts";
import type { Identity } from "./machine.ts";

/** The last notice about an engine. */
const TOLD = ".told";

/** The engine that was chosen, and where its program is, if it has one. */
export interface EngineChoice {
  readonly engine: EngineName;
  readonly program?: string;
}

/** Of who starts something. */
interface LaunchOptions {
  readonly signal?: AbortSignal;
  readonly onNotice?: (notice: Notice) => void;
  readonly detached?: boolean;
}

/** What of a `vmm-config` (ffi/vmm.cddl) is of interest here. */
interface VmmConfig {
  readonly net?: object | undefined;
}

/** What `launch` makes of a VMM. */
interface Launched {
  readonly started: Promise<void>;
  readonly exited: Promise<unknown>;
  /** Published; known once it has started. */
  readonly ports?: readonly PublishedPort[];
  kill(): Promise<unknown>;
}

/**
 * Choose an engine, take a place in the registry, start a VMM with what `configure` returns,
 * and hand it to `adopt`; resolves once the vCPUs run. Throws `HostError`, `SpecError` `NAME_IN_USE`,
 * what the handle's `started` rejects with, and the signal's reason. Nothing stays behind then.
 */
export async function launch<Handle extends Launched>(
  subject: Subject,
  asked: "auto" | EngineName,
  options: LaunchOptions,
  configure: (place: Place, choice: EngineChoice) => VmmConfig | Promise<VmmConfig>,
  adopt: (identity: Identity, control: number) => Promise<Handle>,
): Promise<Handle> {
  const { signal, detached = false } = options;
  const { engine, notice } = chooseEngine(asked);
  if (notice !== undefined && options.onNotice !== undefined) tellOnce(notice, options.onNotice);
  const program = (ENGINES[engine] as Engine).program?.();
  const choice = { engine, ...(program === undefined ? {} : { program }) };
  const place = await claim(subject, engine, detached, options.onNotice);
  let handle: Handle;
  try {
    const config = await configure(place, choice);
    signal?.throwIfAborted();
    const vmmProgram = vmmPath({ network: config.net !== undefined });
    const { pid, control } = startVmm(vmmProgram, encodeCbor(config), place.takeListeners());
    const vmm = place.started(pid);
    const { id, runtimeDir } = place;
    handle = await adopt({ id, name: subject.name, engine, ...vmm, runtimeDir, attached: false }, control);
  } catch (error) {
    place.release();
    throw error;
  }
  return watchStart(handle, place, signal);
}

/** A day, and not of each sandbox: it is the machine's. What was measured is no other notice. */
function tellOnce(notice: Notice, onNotice: (notice: Notice) => void): void {
  const about = notice.message.replace(/[\d.]+/g, "#");
  if (recall(TOLD, about) === true) return;
  remember(TOLD, about, true);
  onNotice(notice);
}

async function watchStart<Handle extends Launched>(
  handle: Handle,
  place: Place,
  signal: AbortSignal | undefined,
): Promise<Handle> {
  const abort = () => void handle.kill();
  signal?.addEventListener("abort", abort, { once: true });
  try {
    if (signal?.aborted) abort();
    await handle.started;
    place.published(handle.ports ?? []);
    return handle;
  } catch (error) {
    await handle.exited;
    place.release();
    throw signal?.aborted ? signal.reason : error;
  } finally {
    signal?.removeEventListener("abort", abort);
  }
}
