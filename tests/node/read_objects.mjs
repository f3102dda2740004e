// Reads JSON with the package in clients/javascript. In: {texts}, each in hex, as JSON on standard input.
// Out: for each text the message of its refusal, or "".
import { readFileSync } from "node:fs";
import { JwsError, readObject } from "./jws.js";

const messages = JSON.parse(readFileSync(0, "utf8")).texts.map((text) => {
  try {
    readObject(Buffer.from(text, "hex"));
    return "";
  } catch (error) {
    if (!(error instanceof JwsError)) throw error;
    return error.message;
  }
});
process.stdout.write(JSON.stringify(messages));
