/**
 * Spans of OpenTelemetry, where the program that uses capsa has registered an SDK. Its API is loaded only then: it takes
 * longer to load than a short command to run. It is a peer dependency, so that it is the one that the program has.
 */

import type { Attributes, Context, Span, SpanKind } from "@opentelemetry/api";
import pkg from "../../package.json" with { type: "json" };

export type { Attributes } from "@opentelemetry/api";

type Api = typeof import("@opentelemetry/api");

/** Where the API, in its major version 1, keeps what was registered, so that several copies of it share that. */
const REGISTERED = Symbol.for("opentelemetry.js.api.1");
/** `SpanKind` of the API. */
const INTERNAL: SpanKind.INTERNAL = 0;
const CLIENT: SpanKind.CLIENT = 2;

let loaded: Api | undefined;

function load(): Api | undefined {
  if (!(REGISTERED in globalThis)) return undefined;
  try {
    loaded = require("@opentelemetry/api") as Api;
  } catch {
    // an SDK whose API cannot be found from here
  }
  return loaded;
}

/** A span that goes on. What is under way in `within` becomes its child. */
export class Recording {
  readonly #api: Api;
  readonly #span: Span;
  readonly #context: Context;

  constructor(
    api: Api,
    name: string,
    attributes: Attributes,
    kind: SpanKind,
    parent: Context,
    from?: number,
  ) {
    this.#api = api;
    const options = { attributes, kind, ...(from === undefined ? {} : { startTime: from }) };
    this.#span = api.trace.getTracer(pkg.name, pkg.version).startSpan(name, options, parent);
    this.#context = api.trace.setSpan(parent, this.#span);
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes);
  }

  within<T>(work: () => T): T {
    return this.#api.context.with(this.#context, work);
  }

  /** One that is over already; milliseconds since 1970. */
  part(name: string, from: number, to: number): void {
    new Recording(this.#api, name, {}, INTERNAL, this.#context, from).#span.end(to);
  }

  /** `why`: its `error.type`, where it failed. */
  end(why?: string, message = why): void {
    if (why !== undefined) {
      this.#span.setAttribute("error.type", why);
      this.#span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: message! });
    }
    this.#span.end();
  }

  fail(error: unknown): void {
    const { code, name, message } = error as { code?: unknown; name?: string; message?: string };
    // the rest of a message is what a guest printed
    this.end(typeof code === "string" ? code : (name ?? "Error"), message?.split("\n", 1)[0]);
  }
}

/** Undefined where nobody records. `remote`: it is about a request to a sandbox. */
export function record(
  name: string,
  attributes: () => Attributes,
  { remote = false, from }: { remote?: boolean; from?: number } = {},
): Recording | undefined {
  const api = loaded ?? load();
  if (api === undefined) return undefined;
  return new Recording(api, name, attributes(), remote ? CLIENT : INTERNAL, api.context.active(), from);
}
