/** Starts a machine as an own process, prints what is needed to watch it, and stays: for tests that kill the starter. */

import { Machine } from "./machine.ts";

const machine = await Machine.start({ detached: process.argv[2] === "detached" });
await machine.ready();
console.log(JSON.stringify({ runtimeDir: machine.runtimeDir, processes: await machine.processes() }));
await Bun.sleep(60_000);
