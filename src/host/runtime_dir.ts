/** What lies where in the runtime directory of a VMM (ffi/vmm.cddl), and who may write it. */

import { join } from "node:path";

/**
 * The directory that is the VMM's to write, and a guest's that has taken it over: nobody believes what lies there, and
 * nobody follows a link in it. All else in the runtime directory is this side's alone.
 */
export function vmmDirectory(runtimeDir: string): string {
  return join(runtimeDir, "vmm");
}

/** The VMM binds it before it is confined, and cannot put another in its place. */
export function controlSocket(runtimeDir: string): string {
  return join(runtimeDir, "control.sock");
}

/** Of a guest's vsock port; the VMM listens there. */
export function guestSocket(runtimeDir: string, port: number): string {
  return join(vmmDirectory(runtimeDir), `${port}.sock`);
}

/** Of a host's vsock port; the VMM connects to it. */
export function hostSocket(runtimeDir: string, port: number): string {
  return join(vmmDirectory(runtimeDir), `host-${port}.sock`);
}

/** Of a host of the sandbox's secrets; none but the VMM connects to it. */
export function secretSocket(runtimeDir: string, index: number): string {
  return join(vmmDirectory(runtimeDir), `secret-${index}.sock`);
}

/** The VMM opens its logs before it is confined: it can write anything into them, and put nothing in their place. */
export const EVENTS_LOG = "events.log";
export const NETWORK_LOG = "network.log";
/** Of the proxy of the secrets. */
export const SECRETS_LOG = "secrets.log";
/** Bytes that a log may have, as ffi/vmm/config.h says it. */
export const LOG_LIMIT = 16 << 20;
