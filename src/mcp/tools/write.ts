/** `write`: a file into a sandbox. */

import { type Static, Type } from "@sinclair/typebox";
import { CapsaError } from "../../errors/errors.ts";
import { fileMode, guestPath, optional } from "../../spec/forms.ts";
import { encoding, inputs, sandboxName, type Tool } from "../tool.ts";

const input = inputs({
  sandbox: sandboxName,
  path: guestPath("The file; missing directories above it are made."),
  content: Type.String({ description: "What it is to hold.", expected: "text" }),
  encoding,
  mode: optional(fileMode('Permissions in octal ("0644" for a new file).')),
  append: Type.Optional(
    Type.Boolean({ description: "Write at the file's end (false: replace it).", expected: "true or false" }),
  ),
});

export const write: Tool<typeof input> = {
  name: "write",
  description: "Write a file in a sandbox: a new one, over one that is there in one step, or at its end.",
  input,
  hints: { readOnlyHint: false, destructiveHint: true },
  async run(args: Static<typeof input>, { sandboxes, signal }) {
    const { sandbox, path, content, encoding, mode, append } = args;
    const written = await sandboxes
      .get(sandbox)
      .agent.writeFile(path, encoding === "base64" ? fromBase64(content) : content, {
        parents: true,
        signal,
        ...(mode === undefined ? {} : { mode: Number.parseInt(mode, 8) }),
        ...(append === undefined ? {} : { append }),
      });
    return { path, bytesWritten: written };
  },
};

function fromBase64(text: string): Uint8Array {
  try {
    return Uint8Array.fromBase64(text);
  } catch (cause) {
    throw new CapsaError("ARGUMENTS", "write.content is not base64", {
      hint: 'leave "encoding" out for plain text',
      cause,
    });
  }
}
