// Answers each line of stdin with one line of JSON: what a client got from IMDS, or how it failed.
import { writeSync } from "node:fs";
import { createInterface } from "node:readline";

const answers = Number(process.env.ANSWERS_FD);

// The answers have a descriptor of their own, because clients print to stdout.
export async function answerLines(attempt) {
  for await (const _ of createInterface({ input: process.stdin })) {
    const start = performance.now();
    let answer;
    try {
      answer = { got: await attempt() };
    } catch (error) {
      answer = { error: error.name, text: error.message };
    }
    writeSync(answers, JSON.stringify({ ...answer, seconds: (performance.now() - start) / 1000 }) + "\n");
  }
  process.exit(0); // agents keep timers
}
