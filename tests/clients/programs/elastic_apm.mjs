// elastic-apm-node: the cloud metadata that its agent sends with the option cloudProvider=azure.
import { createRequire } from "node:module";
import { answerLines } from "./answers.mjs";

const require = createRequire(import.meta.url);
const { CloudMetadata } = require("elastic-apm-node/lib/cloud-metadata/index.js");
const quiet = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };

await answerLines(
  () =>
    new Promise((resolve, reject) => {
      new CloudMetadata("azure", quiet, "matrix").getCloudMetadata((error, found) =>
        error ? reject(error) : resolve(found),
      );
    }),
);
