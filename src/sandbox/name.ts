/** Names for those that were given none. */

/** `"sandbox-1f2e3d4c"`: as good as unique on a machine. */
export function madeUpName(kind: string): string {
  return `${kind}-${crypto.getRandomValues(Buffer.alloc(4)).toString("hex")}`;
}
