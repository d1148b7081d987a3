/** What the documentation says of steps is what their kinds say. */
import { expect, test } from "bun:test";
import { madeOfSteps, withMade } from "../../docs/steps.ts";

test.each(madeOfSteps())("$file says of each kind of step what the kind says", (made) => {
  const { wanted, there } = withMade(made);
  expect(there).toBe(wanted); // `make docs` makes it
});
