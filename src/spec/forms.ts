/** The forms that values of a table may have: TypeBox schemas, with the words in which a wrong value is refused. */
import { type TLiteral, type TSchema, type TUnion, Type } from "@sinclair/typebox";

/** Where in a table a value is. */
export type Path = readonly (string | number)[];

/** Told of what is wrong with the value at `path`, and what to do about it. */
export type Reporter = (path: Path, message: string, hint?: string) => void;

/** Words for error messages: what a refused value, or a refused name in a table, should have been. */
declare module "@sinclair/typebox" {
  interface SchemaOptions {
    expected?: string;
    names?: string;
  }
}

export const closed = { additionalProperties: false } as const;

export const words = <const T extends readonly string[]>(
  values: T,
  description: string,
): TUnion<Literals<T>> =>
  Type.Union(values.map((value) => Type.Literal(value)) as Literals<T>, {
    description,
    expected: values.map((value) => `"${value}"`).join(" or "),
  }) as TUnion<Literals<T>>;

type Literals<T extends readonly string[]> = { -readonly [I in keyof T]: TLiteral<T[I]> };

export const optional = <T extends TSchema>(schema: T) => Type.Optional(schema);

export const duration = (description: string) =>
  Type.String({
    description,
    pattern: "^[0-9]+(\\.[0-9]+)?(ms|s|m|h)$",
    expected: 'a time with its unit: "500ms", "30s", "5m" or "1h"',
  });

export const guestPath = (description: string) =>
  Type.String({
    description,
    pattern: "^/[^\\x00]*$",
    expected: 'an absolute path in the guest, such as "/project"',
  });

export const hostPath = (description: string) =>
  Type.String({ description, pattern: "^[^\\x00]+$", expected: 'a path on the host, such as "./src"' });

export const text = (description: string) => Type.String({ description, expected: "text in quotes" });

export const environment = (description: string) =>
  Type.Record(
    Type.String({ pattern: "^[^=\\x00]+$" }),
    Type.String({ expected: 'text in quotes, such as "1"' }),
    {
      ...closed,
      description,
      names: "any text without =",
      expected: 'a table of texts, such as { LANG = "C.UTF-8" }',
    },
  );

export const command = (description: string) =>
  Type.Union(
    [
      Type.String({ pattern: "^[^\\x00]+$" }),
      Type.Array(Type.String({ pattern: "^[^\\x00]*$", expected: "text in quotes, without a NUL in it" }), {
        minItems: 1,
        expected: "a program and its arguments",
      }),
    ],
    { description, expected: 'a shell command ("make test") or a program with arguments (["make", "test"])' },
  );

/** Of a {@link command}: a program with arguments as it is; a text as a command of the guest's shell. */
export function toArgv(command: string | readonly string[]): [string, ...string[]] {
  if (typeof command === "string") return ["/bin/sh", "-c", command];
  const [program, ...args] = command as [string, ...string[]];
  return [program, ...args];
}
