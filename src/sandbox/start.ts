/** Starting a sandbox: the one way in, for the builder and for the command line. */

import { HostError } from "../errors.ts";
import type { RunningSandbox, StartOptions } from "./api.ts";
import type { SandboxSpec } from "./spec.ts";

/** Boot what `spec` says; resolves once the vCPUs run (`vm.ready` tells when the agent listens). */
export async function startSandbox(spec: SandboxSpec, _options: StartOptions = {}): Promise<RunningSandbox> {
  throw new HostError("VMM_MISSING", `cannot start ${spec.name}: the VMM is not built`);
}
