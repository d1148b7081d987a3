/** The steps of a capsa.toml from a program. Run it: npm exec -- bun examples/sdk/project.ts FILE */
import { Capsa } from "capsa";

const project = await Capsa.load(process.argv[2]);
const report = await project.up({ onStep: ({ step, status }) => console.log(status, step.name) });
console.log(`${report.passed} passed, ${report.failed} failed`);
process.exitCode = report.failed > 0 ? 1 : 0;
