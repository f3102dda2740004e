// newrelic: what its agent reports about the cloud when it connects.
import { EventEmitter } from "node:events";
import { createRequire } from "node:module";
import { answerLines } from "./answers.mjs";

const require = createRequire(import.meta.url);
const fetchAzureInfo = require("newrelic/lib/utilization/azure-info.js");

await answerLines(() => {
  fetchAzureInfo.clearCache();
  const metrics = { getOrCreateMetric: () => ({ incrementCallCount: () => {} }) };
  const agent = Object.assign(new EventEmitter(), { config: { utilization: { detect_azure: true } }, metrics });
  return new Promise((resolve, reject) => {
    fetchAzureInfo(agent, (error, found) => (error ? reject(error) : resolve(found)));
  });
});
