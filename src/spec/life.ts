/** Keys of what runs in a sandbox, and how long that may take. */
import { Type } from "@sinclair/typebox";
import { closed, command, environment, guestPath, optional, toArgv } from "./forms.ts";
import { type Key, quantity } from "./key.ts";
import { parseGuestPath } from "./paths.ts";
import { TIME } from "./units.ts";

const MOST_TIMER_MS = 2 ** 31 - 1;
/** The guest's timers end there: 49 days. */
const MOST_LIFE_MS = 2 ** 32 - 1;

export const ENV: Key = {
  name: "env",
  default: {},
  schema: environment("Environment of the main process and of every command."),
};

/** Of the main process, which has it in the specification, and of steps. */
export const CWD: Key = {
  name: "cwd",
  schema: guestPath("Working directory of the main process and of every step that names none."),
  parse: parseGuestPath,
};

interface WrittenProcess {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
}

const run = command(
  "The main process. When it ends, the sandbox ends. Without it the sandbox lives until it is stopped.",
);

export const RUN: Key = {
  name: "run",
  schema: run,
  plain: Type.Union(
    [
      ...run.anyOf,
      Type.Object(
        {
          argv: Type.Array(Type.String({ expected: "a text" }), {
            minItems: 1,
            expected: "a program and its arguments",
          }),
          env: optional(environment("")),
          cwd: optional(guestPath("")),
        },
        { ...closed, expected: "a program with its arguments" },
      ),
    ],
    { expected: run.expected! },
  ),
  parse: (given: string | string[] | WrittenProcess, path, context) => {
    const {
      argv,
      env = {},
      cwd,
    } = typeof given === "object" && "argv" in given ? given : { argv: toArgv(given), cwd: undefined };
    if (argv[0] === "") context.report(path, "the program's name is empty");
    return {
      argv,
      env,
      ...(cwd === undefined ? {} : { cwd: parseGuestPath(cwd, [...path, "cwd"], context) }),
    };
  },
};

export const TIMES: readonly Key[] = [
  quantity({
    name: "bootTimeout",
    field: "bootTimeoutMs",
    unit: TIME,
    least: 1,
    most: MOST_TIMER_MS,
    default: 30_000,
    example: "30s",
    words: "How long the start may take",
  }),
  quantity({
    name: "ttl",
    field: "ttlMs",
    unit: TIME,
    least: 1,
    most: MOST_LIFE_MS,
    example: "8h",
    words: "The sandbox ends this long after its start, whoever started it (default: no limit)",
    tell: (ttlMs: number, created) => ({ endsAt: new Date(created.getTime() + ttlMs).toISOString() }),
  }),
  quantity({
    name: "idleTimeout",
    field: "idleTimeoutMs",
    unit: TIME,
    least: 1,
    most: MOST_LIFE_MS,
    example: "30m",
    words:
      "The sandbox ends after this time without a command, a call of its agent or a forwarded connection " +
      "(default: no limit)",
    tell: (idleTimeoutMs: number) => ({ endsWhenIdleForSeconds: idleTimeoutMs / 1000 }),
  }),
];
