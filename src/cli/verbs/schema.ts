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
      "\nSave it with `capsa schema >capsa.schema.json`. An editor that knows TOML schemas (taplo, Even Better TOML) then\n" +
        "completes and checks a file beside it that begins with\n  #:schema ./capsa.schema.json",
    )
    .action(() => terminal.json(jsonSchema()));
}
