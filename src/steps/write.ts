/** `write`: put a file into the sandbox, from the script or from the host. */
import { resolve as absolute } from "node:path";
import { Type } from "@sinclair/typebox";
import { CapsaError } from "../errors/errors.ts";
import { errorCode } from "../host/file_errors.ts";
import { type Held, hold } from "../host/hold.ts";
import { lookUp } from "../host/look_up.ts";
import { unexpanded } from "../host/written.ts";
import { closed, fileMode, guestPath, hostPath, optional, text } from "../spec/forms.ts";
import type { StepKind, StepOf } from "./kind.ts";

export interface Write {
  readonly file: string;
  /** What is written: a text, or the contents of a file of the host (absolute path), read when the step runs. */
  readonly contents: { readonly text: string } | { readonly from: string };
  readonly mode: number;
}

export type WriteStep = StepOf<"write", Write>;

const schema = Type.Object({
  write: Type.Object(
    {
      file: guestPath("The file. capsa creates missing directories."),
      text: optional(text("The contents.")),
      from: optional(hostPath("Or: a file of the host with the contents.")),
      mode: optional(fileMode('Permissions (default "0644").')),
    },
    {
      ...closed,
      description: "Write a file in the guest.",
      expected: 'a table such as { file = "/a", text = "b" }',
    },
  ),
});

const example = `
[[steps]]
# mode: permissions in octal (default "0644"). capsa creates missing directories.
write = { file = "/tmp/tool/count.sh", text = "exec wc -l", mode = "0755" }

[[steps]]
# from: a file of the host, relative to the directory of this file, instead of text
write = { file = "/generated/data.csv", from = "./examples/python/project/readings.csv" }
`;

export const write: StepKind<Write, typeof schema> = {
  schema,
  example,

  resolve({ write: table }, { path, base, report }) {
    const at = [...path, "write"];
    if (table.text !== undefined && table.from !== undefined) {
      report([...at, "from"], "text and from cannot be combined", "keep one of them");
    } else if (table.text === undefined && table.from === undefined) {
      report(at, "the step does not say what to write", 'add text = "…" or from = "./file"');
    }
    const from = table.from === undefined ? undefined : absolute(base, table.from);
    // an earlier step may make it, so only what can never be read is refused
    const found = from === undefined ? undefined : lookUp(from);
    const wrong = unexpanded(table.from ?? "");
    if (wrong !== undefined) {
      report([...at, "from"], ...wrong);
    } else if (found !== undefined && "why" in found) {
      if (!found.missing) report([...at, "from"], found.why);
    } else if (found?.isDirectory()) {
      report([...at, "from"], `${from} is a directory`, "name a file, or share the directory");
    }
    return {
      file: table.file,
      contents: from === undefined ? { text: table.text ?? "" } : { from },
      mode: Number.parseInt(table.mode ?? "644", 8),
    };
  },

  title: ({ write: { file } }) => `write ${file}`,

  async run({ file, contents, mode }, { agent, signal }) {
    const options = { mode, parents: true, signal };
    if ("text" in contents) {
      await agent.writeFile(file, contents.text, options);
    } else {
      using held = hostFile(contents.from);
      await agent.writeFile(file, Bun.file(held.path), options);
    }
    return { mismatches: [] };
  },
};

function hostFile(path: string): Held {
  const none = () => new CapsaError("ENOENT", `there is no file ${path} on the host`);
  try {
    const held = hold(path);
    if (held.status.isFile()) return held;
    held[Symbol.dispose]();
  } catch (error) {
    if (errorCode(error) !== "ENOENT") throw error;
  }
  throw none();
}
