// @azure/identity: a token of the managed identity that the variable CLIENT_ID names, for a vault.
import { ManagedIdentityCredential } from "@azure/identity";
import { answerLines } from "./answers.mjs";

let calls = 0;

await answerLines(async () => {
  // Its own options: one retry, after 20 ms at most; after a 410, it is at least 3 seconds.
  const retryOptions = { maxRetries: 1, retryDelayInMs: 10, maxRetryDelayInMs: 20 };
  const credential = new ManagedIdentityCredential({ clientId: process.env.CLIENT_ID, retryOptions });
  // All credentials of a process share a cache of tokens by resource.
  calls += 1;
  const scope = `https://vault${calls}.vault.azure.net/.default`;
  const { token, expiresOnTimestamp } = await credential.getToken(scope);
  return { token, expires_on: expiresOnTimestamp / 1000 };
});
