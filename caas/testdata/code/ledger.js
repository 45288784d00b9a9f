#!/usr/bin/env node
import { store } from "./store.js";

class Ledger {
  #size = 0;

  get size() {
    return this.#size;
  }

  static async open(path) {
    return new Ledger(await store(path));
  }
}

function* entries() {
  yield 1;
}

const add = (a, b) => a + b;

export default Ledger;
