// @azure/identity: a token of the managed identity that the variable CLIENT_ID names, for Azure Resource Manager.
import { ManagedIdentityCredential } from "@azure/identity";
import { answerLines } from "./answers.mjs";

await answerLines(async () => {
  // Its own options: two retries, half a second after each response at most.
  const retryOptions = { maxRetries: 1, retryDelayInMs: 10, maxRetryDelayInMs: 20 };
  const credential = new ManagedIdentityCredential({ clientId: process.env.CLIENT_ID, retryOptions });
  const { token, expiresOnTimestamp } = await credential.getToken("https://management.azure.com/.default");
  return { token, expires_on: expiresOnTimestamp / 1000 };
});
