/** A thread that has two names change places without end, as a guest may in a share. */
import { exchange } from "../../../src/host/libc.ts";

const [one, other, count] = JSON.parse(process.env.SWAP ?? "[]") as [string, string, number];
for (let times = 0; times < count; times++) exchange(Buffer.from(one), Buffer.from(other));
