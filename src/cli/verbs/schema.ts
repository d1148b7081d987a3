/** `capsa schema`: the JSON Schema of `capsa.toml`, for editors. */
import type { Command } from "commander";
import { jsonSchema } from "../../config/json_schema.ts";
import type { Cli } from "../cli.ts";

export function schema(program: Command, { terminal }: Cli): void {
  program
    .command("schema")
    .summary("print the JSON Schema of capsa.toml, for editors")
    .addHelpText(
      "after",
      "\nAn editor that knows TOML schemas (taplo, Even Better TOML) completes and checks a file that begins with\n" +
        "  #:schema ./capsa.schema.json\nonce `capsa schema >capsa.schema.json` has written that file beside it.",
    )
    .action(() => terminal.json(jsonSchema()));
}
