/** Bytes as patches of git hold them: squeezed by zlib, in lines of base 85. */

import { promisify } from "node:util";
import { deflate } from "node:zlib";

const DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";
/** Bytes of a line, whose first letter says how many there are: A to Z, then a to z. */
const LINE = 52;

const squeeze = promisify(deflate);

/** The contents whole, as `literal` has them, with the empty line behind them. */
export async function literal(bytes: Uint8Array): Promise<string> {
  const squeezed = await squeeze(bytes);
  const lines = [`literal ${bytes.length}`];
  for (let at = 0; at < squeezed.length; at += LINE) {
    const line = squeezed.subarray(at, at + LINE);
    const count = String.fromCharCode(line.length <= 26 ? 64 + line.length : 70 + line.length);
    lines.push(count + base85(line));
  }
  return `${lines.join("\n")}\n\n`;
}

/** Five digits for four bytes, the last of which may be missing and are 0 then. */
function base85(bytes: Buffer): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4) {
    let rest = 0;
    for (let byte = 0; byte < 4; byte++) rest = rest * 256 + (bytes[at + byte] ?? 0);
    let digits = "";
    for (let digit = 0; digit < 5; digit++) {
      digits = DIGITS[rest % 85]! + digits;
      rest = Math.floor(rest / 85);
    }
    text += digits;
  }
  return text;
}
