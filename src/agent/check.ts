/** What callers give, checked before it is sent. */

/** Throws `TypeError` for what is no absolute path. */
export function checkPath(path: string): void {
  if (typeof path !== "string" || !path.startsWith("/") || path.includes("\0")) {
    throw new TypeError(`a path in the guest should be absolute, not ${JSON.stringify(path)}`);
  }
}

/** Throws `TypeError` for what is no whole number of the range; `undefined` is none to be checked. */
export function checkWhole(
  what: string,
  value: unknown,
  least = 0,
  most: number = Number.MAX_SAFE_INTEGER,
): void {
  if (value === undefined) return;
  if (typeof value !== "number" || !(Number.isInteger(value) && value >= least && value <= most)) {
    throw new TypeError(`${what} should be a whole number from ${least} on, not ${JSON.stringify(value)}`);
  }
}

/** Permission bits, set-id and sticky ones too. */
export function checkMode(mode: unknown): void {
  checkWhole("mode", mode, 0, 0o7777);
}

/** Ids of a user and a group. */
export function checkOwner(user: unknown, group: unknown): void {
  checkWhole("user", user, 0, 0xfffffffe);
  checkWhole("group", group, 0, 0xfffffffe);
}
