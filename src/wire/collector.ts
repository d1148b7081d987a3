/** Bytes gathered to one array, without keeping alive the frames they came in. */

const FIRST_BLOCK = 4096;
const LARGEST_BLOCK = 1 << 20;

export class Collector {
  #blocks: Uint8Array[] = [];
  #block = new Uint8Array(0);
  #fill = 0;
  /** Bytes gathered so far. */
  length = 0;

  add(chunk: Uint8Array): void {
    this.length += chunk.length;
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#fill === this.#block.length) this.#grow();
      const part = rest.subarray(0, this.#block.length - this.#fill);
      this.#block.set(part, this.#fill);
      this.#fill += part.length;
      rest = rest.subarray(part.length);
    }
  }

  bytes(): Uint8Array {
    const all = new Uint8Array(this.length);
    let at = 0;
    for (const block of this.#blocks) {
      all.set(block, at);
      at += block.length;
    }
    all.set(this.#block.subarray(0, this.#fill), at);
    return all;
  }

  #grow(): void {
    if (this.#fill > 0) this.#blocks.push(this.#block);
    this.#block = new Uint8Array(Math.min(LARGEST_BLOCK, Math.max(FIRST_BLOCK, 2 * this.#block.length)));
    this.#fill = 0;
  }
}
