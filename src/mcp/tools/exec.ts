/** `exec`: run a command to its end, within the operator's time. */

import { type Static, Type } from "@sinclair/typebox";
import { command, environment, guestPath, optional, text } from "../../spec/forms.ts";
import type { McpLimits } from "../../spec/mcp.ts";
import { Excerpt } from "../excerpt.ts";
import { inputs, sandboxName, type Tool } from "../tool.ts";

export function exec({ execTimeoutMs, maxOutput }: McpLimits): Tool {
  const seconds = execTimeoutMs / 1000;
  const input = inputs({
    sandbox: sandboxName,
    command: command("A text is run by the sandbox's /bin/sh; a list is a program and its arguments."),
    cwd: optional(guestPath("Working directory (/).")),
    env: optional(
      environment(
        "Environment variables, added to the sandbox's.",
        'an object of texts such as {"LANG": "C"}',
      ),
    ),
    stdin: optional(text("What it reads from its standard input.")),
    timeoutSeconds: Type.Optional(
      Type.Number({
        description: `It is killed after so long; ${seconds} without, which is the most that is allowed.`,
        exclusiveMinimum: 0,
        maximum: seconds,
        expected: `a number of seconds up to ${seconds}, which is what this server's operator allows`,
      }),
    ),
  });
  return {
    name: "exec",
    description:
      "Run a command in a sandbox, as root there, and wait for its end. Gives its exit code (or the signal that ended " +
      `it), stdout and stderr. Of each at most ${maxOutput} bytes: of longer output the beginning and the end, with a ` +
      "line between them that says how much is missing; write such output to a file and read that. A command that " +
      "fails is no error of the tool. To leave something running: setsid server >/tmp/log 2>&1 &",
    input,
    hints: { readOnlyHint: false, destructiveHint: true },
    async run(args: Static<typeof input>, { sandboxes, signal }) {
      const sandbox = sandboxes.get(args.sandbox);
      const { command, cwd, env = {}, stdin, timeoutSeconds = seconds } = args;
      const stdout = new Excerpt(maxOutput);
      const stderr = new Excerpt(maxOutput);
      const ended = await sandbox.agent.exec(command, {
        env,
        ...(cwd === undefined ? {} : { cwd }),
        ...(stdin === undefined ? {} : { stdin }),
        timeoutMs: Math.ceil(timeoutSeconds * 1000),
        signal,
        onStdout: (chunk) => stdout.add(chunk),
        onStderr: (chunk) => stderr.add(chunk),
      });
      const refused = sandbox.takeRefusals();
      return {
        exitCode: ended.exitCode,
        ...(ended.signal === null ? {} : { signal: ended.signal }),
        ...(ended.timedOut ? { timedOut: `it ran longer than ${timeoutSeconds} s and was killed` } : {}),
        stdout: stdout.text(),
        stderr: stderr.text(),
        truncated: stdout.leftOut + stderr.leftOut > 0,
        durationMs: Math.round(ended.durationMs),
        ...(refused.length > 0 ? { networkRefused: refused } : {}),
      };
    },
  };
}
