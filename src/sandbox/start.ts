/** Starting a sandbox: the one way in, for the builder and for the command line. */

import { dirname } from "node:path";
import type { StagedChanges } from "../changes/changes.ts";
import { checkOptions, named } from "../errors/check.ts";
import { guard } from "../errors/edge.ts";
import { runtimeBase, waitingIn } from "../host/directories.ts";
import { initramfsPath, kernelPath } from "../host/installation.ts";
import { writeInitrd } from "../image/initrd.ts";
import type { RootImage } from "../image/root.ts";
import { prepareRoot } from "../image/source.ts";
import type { Place } from "../machine/claim.ts";
import { launch } from "../machine/launch.ts";
import { type HostNames, hostNames } from "../network/host.ts";
import { makePlaceholders, secretEnvironment } from "../secrets/guest.ts";
import type { SecretProxy } from "../secrets/proxy.ts";
import { toSpec, validateSpec } from "../spec/sandbox.ts";
import type { SandboxSpec } from "../spec/spec.ts";
import type { RunningSandbox, StartOptions } from "./api.ts";
import { recordBoot } from "./boot_span.ts";
import { lookUpHosts } from "./host_places.ts";
import { makePlaces } from "./places.ts";
import { type GuestAddition, guestPlan, layOut, vmmConfig, withImage } from "./plan.ts";
import { noticesOfProtection, protections } from "./protect.ts";
import { SandboxHandle } from "./running.ts";

/** Behind the specification. */
export const START_OPTIONS = named<StartOptions>(1, {
  ...({ signal: true, onNotice: true, onRefusal: true, onAccess: true } as const),
  ...({ detached: true, keepChanges: true } as const),
});

/**
 * Boot what `spec` says; resolves once the vCPUs run (`vm.ready` tells when the agent listens). Throws `SpecError` for
 * what cannot be, `HostError` for what this machine lacks, `BootError` when the VMM cannot start it, and the signal's
 * reason. Nothing stays behind then.
 * @example
 * await using vm = await startSandbox(spec, { onNotice: ({ message }) => console.error(message) });
 */
export async function startSandbox(spec: SandboxSpec, options: StartOptions = {}): Promise<RunningSandbox> {
  return guard("startSandbox", [options], async () => {
    checkOptions("startSandbox", options, START_OPTIONS.names);
    options.signal?.throwIfAborted();
    const asked = toSpec(spec);
    validateSpec(asked);
    return startChecked(asked, options);
  });
}

/** The same of a specification that was checked just now. `waits`: its time begins with {@link SandboxHandle.begin}. */
export async function startChecked(
  asked: SandboxSpec,
  options: StartOptions & { readonly waits?: boolean },
): Promise<SandboxHandle> {
  const began = performance.now();
  options.signal?.throwIfAborted();
  const root = await prepare(asked);
  options.signal?.throwIfAborted();
  const spec = withImage(asked, root);
  const kernel = spec.kernel === undefined ? kernelPath() : Promise.resolve(spec.kernel);
  kernel.catch(() => {}); // it is looked for meanwhile, and awaited below
  const base = spec.initrd ?? initramfsPath();
  let staged: StagedChanges | undefined;
  const span = recordBoot(spec);
  const names = findNames(spec, options);
  let secrets: Promise<StartedSecrets | undefined> = Promise.resolve(undefined);
  const launched = launch(
    { name: spec.name, spec },
    spec.engine,
    options,
    async (place, choice) => {
      secrets = startSecrets(spec, place, options);
      secrets.catch(() => {}); // a process of its own: it starts meanwhile, and is awaited below
      const identities = lookUpHosts({ ...spec, kernel: await kernel }, options.onNotice);
      staged = await stage(place, spec, options);
      const { proxy, addition } = (await secrets) ?? {};
      const used = [spec.kernel ? undefined : await kernel, spec.initrd ? undefined : base, choice.program];
      const given = protections(spec, [dirname(place.runtimeDir), ...used.flatMap((path) => path ?? [])]);
      for (const notice of noticesOfProtection(spec, given)) options.onNotice?.(notice);
      const layout = layOut(spec, root, {
        ...(staged === undefined ? {} : { staging: staged.directory }),
        protections: given,
        places: makePlaces(spec.shares, given, place.runtimeDir),
      });
      return vmmConfig(spec, layout, {
        ...choice,
        kernel: await kernel,
        initrd: await waitingIn(
          dirname(place.runtimeDir),
          writeInitrd(
            place.runtimeDir,
            base,
            guestPlan(spec, layout, place.lans, addition, names, options.waits),
          ),
        ),
        runtimeDir: place.runtimeDir,
        detached: options.detached ?? false,
        ...(options.waits ? { waits: true } : {}),
        identities,
        ...(names === undefined ? {} : { nameServers: names.servers }),
        ...(proxy === undefined ? {} : { services: proxy.services }),
        ...(place.lans.length === 0 ? {} : { lans: place.lans }),
        ...(place.archive === undefined ? {} : { archive: place.archive }),
      });
    },
    async (identity, control) => {
      const handle = await SandboxHandle.adopt(identity, spec.shares, control, began, options, staged);
      handle.boot.limit(spec.bootTimeoutMs, () => void handle.kill());
      return handle;
    },
  );
  span?.follow(launched);
  try {
    const vm = await launched;
    const { proxy } = (await secrets) ?? {};
    if (proxy !== undefined) await bind(proxy, vm, options);
    return vm;
  } catch (error) {
    staged?.drop();
    const started = await secrets.catch(() => undefined);
    await started?.proxy.leave();
    throw error;
  }
}

/** Its root, before it has a place among those that run: that may take its time. */
async function prepare({ rootfs }: SandboxSpec): Promise<RootImage> {
  const base = runtimeBase();
  return waitingIn(base, prepareRoot(rootfs, base));
}

/** How the sandbox finds names; undefined when that is not this machine's affair. */
function findNames({ name, network }: SandboxSpec, { onNotice }: StartOptions): HostNames | undefined {
  if (network === "none" || network.nameServers !== undefined) return undefined;
  const names = hostNames();
  if (names.fallback)
    onNotice?.({
      code: "NO_NAME_SERVER",
      message: `${name}: /etc/resolv.conf names no DNS server, so capsa asks 127.0.0.1; \`capsa doctor\` tells whether it answers`,
    });
  return names;
}

/** A place for what the guest changes in its transactional shares, where it has some. */
async function stage(
  place: Place,
  { name, shares }: SandboxSpec,
  { detached = false, keepChanges = detached }: StartOptions,
): Promise<StagedChanges | undefined> {
  if (!shares.some(({ mode }) => mode === "transaction")) return undefined;
  const { stageChanges } = await import("../changes/changes.ts");
  return stageChanges(place, name, shares, keepChanges);
}

interface StartedSecrets {
  readonly proxy: SecretProxy;
  readonly addition: GuestAddition;
}

/** The proxy of the sandbox's secrets, if it has any, and what its guest is told. */
async function startSecrets(
  { secrets = {}, network, env }: SandboxSpec,
  { runtimeDir }: Place,
  { signal }: StartOptions,
): Promise<StartedSecrets | undefined> {
  if (Object.keys(secrets).length === 0 || network === "none") return undefined;
  const { SecretProxy } = await import("../secrets/proxy.ts"); // few need it
  const placeholders = makePlaceholders(secrets);
  const { nameServers } = network;
  const proxy = await SecretProxy.start({ secrets, placeholders, runtimeDir, nameServers, signal });
  return { proxy, addition: { env: secretEnvironment(placeholders, env), trust: proxy.authority } };
}

/** From now on the two end together. */
async function bind(proxy: SecretProxy, vm: SandboxHandle, { onRefusal }: StartOptions): Promise<void> {
  try {
    await proxy.follow(onRefusal);
  } catch (error) {
    await vm.kill();
    throw error;
  }
  void vm.exited.then(() => proxy.leave());
}
