/** Whether this machine's name servers answer, as a sandbox with a network would ask them. */
import { createSocket } from "node:dgram";
import { isIP } from "node:net";
import { hostNames } from "../network/host.ts";
import type { Finding } from "./diagnosis.ts";

const PATIENCE_MS = 2000;
/** The root's name servers (RFC 1035 section 4.1): each server has something to say to that. */
const QUESTION = Buffer.from("636101000001000000000000" + "0000020001", "hex");

export async function names(port = 53, host = hostNames()): Promise<Omit<Finding, "name">> {
  const { servers, fallback } = host;
  const found = await Promise.all(
    servers.map(async (server) => ({ server, wrong: await ask(server, port) })),
  );
  const from = fallback ? "/etc/resolv.conf names no server, so 127.0.0.1 is asked: " : "";
  const said = from + found.map(({ server, wrong }) => `${server} ${wrong ?? "answers"}`).join(", ");
  if (found.some(({ wrong }) => wrong === undefined)) return { state: fallback ? "note" : "ok", found: said };
  return {
    state: "note",
    found: `${said}; sandboxes with a network find no names`,
    mend: "name a server that answers in /etc/resolv.conf, or by `nameServers` of the sandbox's network",
  };
}

/** What is wrong with a server; undefined when it answers. */
function ask(server: string, port: number): Promise<string | undefined> {
  const socket = createSocket(isIP(server) === 6 ? "udp6" : "udp4");
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const timer = setTimeout(() => resolve(`does not answer within ${PATIENCE_MS / 1000} s`), PATIENCE_MS);
  socket.on("error", (error: NodeJS.ErrnoException) => resolve(`cannot be asked (${error.code})`));
  socket.on("message", () => resolve(undefined));
  socket.connect(port, server, () => socket.send(QUESTION));
  return promise.finally(() => {
    clearTimeout(timer);
    socket.close();
  });
}
