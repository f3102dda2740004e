// Answers the start, and then each line of stdin, with one line of JSON: what a client got, or how it failed.
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";

const answers = Number(process.env.ANSWERS_FD);

// How long a client may take: some never call back when a response is cut.
const PATIENCE_MS = 3500;

function patience() {
  return new Promise((_, reject) => {
    const error = Object.assign(new Error("the client did not call back"), { name: "NoEnd" });
    setTimeout(reject, PATIENCE_MS, error);
  });
}

function write(answer) {
  writeSync(answers, JSON.stringify(answer) + "\n");
}

// The answers have a descriptor of their own, because clients print to stdout.
export async function answerLines(attempt) {
  write({ ready: true });
  for await (const _ of createInterface({ input: process.stdin })) {
    let answer;
    try {
      answer = { got: await Promise.race([attempt(), patience()]) };
    } catch (error) {
      answer = { error: error.name, text: error.message };
    }
    write(answer);
  }
  process.exit(0); // agents keep timers
}
