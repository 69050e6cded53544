// Answers `--version` and `--standard-json` of the native compiler with solcjs.
"use strict";
const fs = require("fs");
const { version } = require("solc/package.json");

const args = process.argv.slice(2);
if (args.includes("--version")) {
  // The package version is enough here: loading the compiler itself costs a second.
  process.stdout.write(`solc, the solidity compiler commandline interface\nVersion: ${version}+commit.00000000\n`);
} else if (args.includes("--standard-json")) {
  const output = require("solc").compile(fs.readFileSync(0, "utf8"));
  fs.writeFileSync(1, output);
} else {
  process.stderr.write(`solc: only --version and --standard-json are supported, not: ${args.join(" ")}\n`);
  process.exitCode = 2;
}
