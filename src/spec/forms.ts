/** The forms that values of a table may have: TypeBox schemas, with the words in which a wrong value is refused. */
import { type TLiteral, type TSchema, type TUnion, Type } from "@sinclair/typebox";

export type { Path, Report as Reporter } from "./problem.ts";

/** Words for error messages: what a refused value, or a refused name in a table, should have been. */
declare module "@sinclair/typebox" {
  interface SchemaOptions {
    expected?: string;
    names?: string;
  }
}

export const closed = { additionalProperties: false } as const;

/** Of a sandbox, a VM or a private network: as a host name, a directory entry and an argument of the command line. */
export const NAME = "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$";
export const NAME_WORDS = "up to 32 small letters, digits and inner dashes";
/** Of a variable that a shell can name. */
export const VARIABLE = "^[A-Za-z_][A-Za-z0-9_]*$";

export const name = (description: string) =>
  Type.String({ description, pattern: NAME, expected: `a name of ${NAME_WORDS}` });

export const texts = (description: string, of: string, example: string) =>
  Type.Array(Type.String({ expected: of }), { description, expected: `a list such as ${example}` });

export const flag = (description: string) => Type.Boolean({ description, expected: "true or false" });

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

export const fileMode = (description: string) =>
  Type.String({
    description,
    pattern: "^0?[0-7]{3}$",
    expected: 'permissions in octal, such as "0755"',
  });

/** `example`: in the language of the file or the call that it is part of. */
export const environment = (
  description: string,
  example = 'a table of texts, such as { LANG = "C.UTF-8" }',
) =>
  Type.Record(
    Type.String({ pattern: "^[^=\\x00]+$" }),
    Type.String({ expected: 'text in quotes, such as "1"' }),
    { ...closed, description, names: "any text without =", expected: example },
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
