/** Lines out of a stream of bytes. */

/** Longest line, UTF-16 units: a guest that never ends one would fill the host's memory. */
const MAX_LINE = 1 << 20;

/** The lines of UTF-8 text without their ends; the last may lack one. Longer ones come in pieces. */
export async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void, void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop()!;
    for (const line of parts) yield line.endsWith("\r") ? line.slice(0, -1) : line;
    for (; rest.length > MAX_LINE; rest = rest.slice(MAX_LINE)) yield rest.slice(0, MAX_LINE);
  }
  rest += decoder.decode();
  if (rest !== "") yield rest;
}
