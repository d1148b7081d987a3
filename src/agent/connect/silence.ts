/** How long an agent may be silent before it is given up, unless a caller says otherwise. */

/** Of a call that is answered at once, milliseconds. */
export const SHORT_MS = 30_000;
/** Of one that moves data or works on many files, and tells of it. */
export const FILE_MS = 60_000;
