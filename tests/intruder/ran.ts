/** Run one machine, as tests/lab/bare.ts does, in a process of its own, and print what became of it as JSON. */
import { netDevice } from "../../src/network/device.ts";
import { runMachine } from "../lab/bare.ts";

const { program, config, network, limitMs } = JSON.parse(await Bun.stdin.text());
const net = network
  ? { net: netDevice({ mode: "user", deny: [], log: [], publish: [], hostLoopback: false }) }
  : {};
const ran = await runMachine(program, { ...config, ...net }, limitMs);
const events = ran.events.filter(({ event }) => event === "notice");
console.log(JSON.stringify({ ...ran, events }));
process.exit(0);
