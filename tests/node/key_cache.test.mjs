// The key cache of clients/javascript, against real HTTP servers on loopback.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { KeyRefused, MemoryReplayStore, NotVerified, ReplayStoreError, ResultVerifier } from "./index.js";
import { CachedKeys, KeysUnavailable } from "./keys.js";

const KEY = { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", alg: "EdDSA", use: "sig" };
const keySet = (...names) => JSON.stringify({ keys: names.map((kid) => ({ ...KEY, kid })) });
const answer = (body, status = 200, headers = {}) => (_, response) => response.writeHead(status, headers).end(body);

/** Runs the body with a cache over a server that gives these answers in order, and the last one for ever. */
async function served(answers, body) {
  const requests = [];
  const server = createServer((request, response) => {
    requests.push(request.url);
    (answers.length > 1 ? answers.shift() : answers[0])(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  let milliseconds = 1000;
  const keys = new CachedKeys(`http://127.0.0.1:${server.address().port}/keys`, () => milliseconds);
  const after = async (seconds, kid = "a") => {
    milliseconds += seconds * 1000;
    return (await keys.find(kid)) !== undefined;
  };
  try {
    await body(after, requests);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

test("a key set is fetched once while it is fresh, and then renewed", () =>
  served([answer(keySet("a")), answer(keySet("b"))], async (after, requests) => {
    assert.deepEqual(await Promise.all(Array.from({ length: 20 }, () => after(0))), Array(20).fill(true));
    assert.equal(await after(299), true);
    assert.equal(requests.length, 1);
    assert.equal(await after(1), false);
    assert.equal(requests.length, 2);
  }));

test("unknown keys cause one request in each interval, and a new key is found", () =>
  served([answer(keySet("a")), answer(keySet("a", "b"))], async (after, requests) => {
    for (let number = 0; number < 50; number += 1) assert.equal(await after(0, `unknown-${number}`), false);
    assert.equal(requests.length, 1);
    assert.equal(await after(10, "b"), true);
  }));

test("keys stay in use for a bounded time when the URL is down", () =>
  served([answer(keySet("a")), answer("", 503)], async (after, requests) => {
    assert.equal(await after(0), true);
    assert.equal(await after(300), true);
    assert.equal(await after(1), true);
    assert.equal(requests.length, 2);
    await assert.rejects(after(0, "new"), KeysUnavailable);
    assert.equal(await after(3298), true);
    await assert.rejects(after(1), KeysUnavailable);
  }));

test("one call alone waits while the URL is down", () =>
  served([answer(keySet("a")), answer("", 503), () => {}], async (after) => {
    assert.equal(await after(0), true);
    assert.equal(await after(300), true);
    const slow = after(10);
    const began = performance.now();
    assert.equal(await after(0), true);
    await assert.rejects(after(0, "unknown"), KeysUnavailable);
    assert.ok(performance.now() - began < 1000);
    assert.equal(await slow, true);
  }));

for (const [name, first] of Object.entries({
  404: answer(keySet("a"), 404),
  redirect: answer("", 301, { location: "/elsewhere" }),
  "too large": answer(JSON.stringify({ keys: [{ ...KEY, kid: "a" }], filler: "x".repeat(65536) })),
  "too many keys": answer(keySet(...Array.from({ length: 33 }, (_, number) => `${number}`))),
  "two keys of one name": answer(keySet("a", "a")),
  "a private key": answer(JSON.stringify({ keys: [{ ...KEY, kid: "a", d: "AAAA" }] })),
  "two members of one name": answer(`{"keys": [], ${keySet("a").slice(1)}`),
  cut: (_, response) => response.writeHead(200, { "content-length": 9999 }).write(keySet("a"), () => response.destroy()),
  "no JSON": answer("no JSON"),
})) {
  test(`an invalid answer is no key set: ${name}`, () =>
    served([first, answer(keySet("a"))], async (after, requests) => {
      await assert.rejects(after(0), KeysUnavailable);
      assert.equal(await after(10), true);
      assert.deepEqual(requests, ["/keys", "/keys"]);
    }));
}

test("a server that sends one byte after the other is given up", () => {
  let timer;
  const drip = (_, response) => {
    response.writeHead(200);
    timer = setInterval(() => response.write("x"), 100);
  };
  return served([drip], async (after) => {
    const began = performance.now();
    await assert.rejects(after(0), KeysUnavailable);
    assert.ok(performance.now() - began < 10_000);
  }).finally(() => clearInterval(timer));
});

test("a URL without https is refused, except on loopback", () => {
  for (const url of ["http://a.example/", "http://127.0.0.1.example/", "ftp://127.0.0.1/", "https://u:p@a.example/", "https://a.example/#f", "", "a"]) {
    assert.throws(() => new CachedKeys(url), TypeError, url);
  }
  for (const url of ["http://127.0.0.1:1/", "http://[::1]:1/", "http://localhost:1/", "https://a.example/"]) {
    assert.ok(new CachedKeys(url));
  }
});

test("the replay store is bounded in total and for each scope, and evicts no entry", async () => {
  const store = new MemoryReplayStore({ maxEntries: 3, maxEntriesPerScope: 2 });
  const remember = (scope, identifier, after = 0) =>
    store.remember(scope, identifier, { now: new Date(after), until: new Date(after + 60_000) });
  assert.equal(await remember("a", "1"), true);
  assert.equal(await remember("a", "1"), false);
  assert.equal(await remember("a", "2"), true);
  await assert.rejects(remember("a", "3"), ReplayStoreError);
  assert.equal(await remember("b", "1"), true);
  await assert.rejects(remember("c", "1"), ReplayStoreError);
  assert.equal(await remember("a", "1", 60_000), false);
  assert.equal(await remember("c", "1", 60_001), true);
  assert.equal(await remember("a", "1", 60_001), true);
});

test("an error of the caller is a TypeError, and no outcome of a token", async () => {
  const options = {
    issuer: "i",
    audience: "a",
    tenant: "t",
    policies: ["p"],
    jwks: JSON.parse(keySet("a")),
    replayStore: new MemoryReplayStore(),
  };
  for (const change of [{ issuer: "" }, { tenant: undefined }, { policies: [] }, { policies: "p" }, { replayStore: {} }]) {
    assert.throws(() => new ResultVerifier({ ...options, ...change }), TypeError);
  }
  const secret = { keys: [{ ...KEY, kid: "a", d: "AAAA" }] };
  for (const jwks of [undefined, null, 1, [], {}, { keys: [] }, { keys: {} }, secret]) {
    assert.throws(() => new ResultVerifier({ ...options, jwks }), KeyRefused);
  }
  const verifier = new ResultVerifier(options);
  await assert.rejects(verifier.verify("x", { proof: "x" }), TypeError);
  await assert.rejects(verifier.verify("x", { proof: "x", method: "POST", url: "/licenses" }), TypeError);
  for (const url of ["", "a.example/licenses", "https://a.example/a b", "https://a.example/\u00e9", 1, {}]) {
    await assert.rejects(verifier.verify("x", { url }), { name: "TypeError", message: /^url must be/ });
  }
  for (const token of [undefined, null, 1, {}, ["x"]]) {
    await assert.rejects(verifier.verify(token), (error) => error instanceof NotVerified && error.code === "token-malformed");
  }
});
