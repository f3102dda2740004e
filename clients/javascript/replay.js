// Remembers what must be accepted once: proofs, and tokens if they are for single use.

/** Reports that a store cannot remember now. The verifier then accepts no token that needs the store. */
export class ReplayStoreError extends Error {}

/**
 * Remembers in this process: for one process, and only while it runs. An identifier is never evicted before it expires.
 * If a scope is full, only that scope is refused.
 */
export class MemoryReplayStore {
  #maxEntries;
  #maxEntriesPerScope;
  #scopes = new Map();
  #size = 0;

  constructor({ maxEntries = 100_000, maxEntriesPerScope = 1_000 } = {}) {
    this.#maxEntries = maxEntries;
    this.#maxEntriesPerScope = maxEntriesPerScope;
  }

  async remember(scope, identifier, { now, until }) {
    this.#expire(scope, now);
    if (this.#scopes.get(scope)?.has(identifier)) return false;
    if (this.#size >= this.#maxEntries) for (const name of [...this.#scopes.keys()]) this.#expire(name, now);
    const entries = this.#scopes.get(scope) ?? new Map();
    if (this.#size >= this.#maxEntries || entries.size >= this.#maxEntriesPerScope) {
      throw new ReplayStoreError("the replay store is full");
    }
    this.#scopes.set(scope, entries.set(identifier, until));
    this.#size += 1;
    return true;
  }

  #expire(scope, now) {
    const entries = this.#scopes.get(scope);
    if (entries === undefined) return;
    for (const [identifier, until] of entries) {
      if (until < now) {
        entries.delete(identifier);
        this.#size -= 1;
      }
    }
    if (entries.size === 0) this.#scopes.delete(scope);
  }
}
