/** Long work in one thread with others: it lets them have their turn now and then. */

const TURN_MS = 20;

export class Turns {
  #began = performance.now();

  /** To be called between pieces of the work. */
  async take(): Promise<void> {
    if (performance.now() - this.#began < TURN_MS) return;
    await Bun.sleep(0);
    this.#began = performance.now();
  }
}
