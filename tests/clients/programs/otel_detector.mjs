// @opentelemetry/resource-detector-azure: the resource of a virtual machine.
import { azureVmDetector } from "@opentelemetry/resource-detector-azure";
import { detectResources } from "@opentelemetry/resources";
import { answerLines } from "./answers.mjs";

await answerLines(async () => {
  const resource = detectResources({ detectors: [azureVmDetector] });
  await resource.waitForAsyncAttributes();
  return resource.attributes;
});
