/** Sandboxes over the Model Context Protocol (revision 2025-11-25), on stdin and stdout. */

import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import {
  type CallToolRequest,
  CallToolRequestSchema,
  type CallToolResult,
  ListToolsRequestSchema,
  RequestSchema,
} from "@modelcontextprotocol/sdk/types.js";
import pkg from "../../package.json" with { type: "json" };
import { CapsaError } from "../errors/errors.ts";
import { printable, printableJson } from "../errors/printable.ts";
import { suggest } from "../errors/suggest.ts";
import type { Operator } from "./limits.ts";
import { Sandboxes } from "./sandboxes.ts";
import { checkArguments, type Tool } from "./tool.ts";
import { toolsFor } from "./tools/index.ts";
import { LineTransport } from "./transport.ts";

const INSTRUCTIONS =
  "Throw-away Linux machines to run programs in. `create` one, then `exec`, `read`, `write` and `list` in it, and `stop` " +
  "it when it is of no more use. What a sandbox may use and reach is set by this server's operator; what is refused " +
  "says what would be allowed. All sandboxes end with this connection.";

/** As loose as that: what does not fit the schema of calls `Server` refuses itself, as parameters that are invalid. */
const CALL = RequestSchema.extend({ method: CallToolRequestSchema.shape.method });
/** Of messages that cannot be read, how many are told of: who sends them may not read what is told. */
const TOLD = 20;

interface ServeOptions {
  /** Aborting it ends the server. */
  readonly signal: AbortSignal;
  /** Lines for the operator: stdout belongs to the protocol. */
  readonly tell: (line: string) => void;
}

/** Serves until stdin ends, stdout is closed or the signal aborts; then every sandbox of it has ended. */
export async function serve(operator: Operator, { signal, tell }: ServeOptions): Promise<void> {
  await using sandboxes = new Sandboxes(operator.limits.maxSandboxes, tell);
  const tools = new Map(toolsFor(operator).map((tool) => [tool.name, tool]));
  const server = new Server(
    { name: pkg.name, version: pkg.version },
    { capabilities: { tools: {} }, instructions: INSTRUCTIONS },
  );
  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: [...tools.values()].map(describeTool) }));
  server.setRequestHandler(CALL, async (request, call): Promise<CallToolResult> => {
    const params = request.params as CallToolRequest["params"];
    try {
      const tool = tools.get(params.name) ?? unknownTool(params.name, [...tools.keys()]);
      const args = params.arguments ?? {};
      checkArguments(tool, args);
      const answer = await tool.run(args, { sandboxes, signal: call.signal });
      // the text is for clients that do not know of the other
      return { content: [{ type: "text", text: printableJson(answer) }], structuredContent: answer };
    } catch (error) {
      return { content: [{ type: "text", text: printable(describeError(error)) }], isError: true };
    }
  });
  let untold = 0;
  server.onerror = ({ message }) => {
    if (++untold <= TOLD) tell(`what the client sent cannot be read: ${message}`);
  };
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  server.onclose = end;
  for (const event of ["end", "close"]) process.stdin.once(event, end);
  process.stdout.on("error", () => end()); // nobody reads any more
  signal.addEventListener("abort", () => end(), { once: true });
  if (signal.aborted) return;
  await server.connect(new LineTransport(process.stdin, process.stdout));
  await ended;
  await server.close(); // calls under way are aborted
}

function describeTool({ name, description, input, hints }: Tool) {
  // without what only our own messages use, and TypeBox's symbols
  const text = JSON.stringify(input, (key, value) =>
    key === "expected" || key === "names" ? undefined : value,
  );
  return { name, description, inputSchema: JSON.parse(text), annotations: hints };
}

function unknownTool(name: string, known: readonly string[]): never {
  const meant = suggest(name, known);
  throw new CapsaError("UNKNOWN_TOOL", `this server has no tool ${JSON.stringify(name)}`, {
    hint: meant ? `did you mean "${meant}"?` : `it has: ${known.join(", ")}`,
  });
}

function describeError(error: unknown): string {
  if (error instanceof CapsaError) return error.hint ? `${error.message}\n${error.hint}` : error.message;
  return error instanceof Error ? error.message : String(error);
}
