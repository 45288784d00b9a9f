// SPDX-License-Identifier: MIT
import { Store } from "./store";
export * from "./memory";

/** How a payment looks. */
export interface Payment {
  amount: number;
}

export type Id = string;

@injectable()
export class Ledger extends Base {
  private size = 0;

  constructor(private store: Store) {
    super();
  }

  /** Puts a payment to the others. */
  @logged
  async append(payment: Payment): Promise<number> {
    return this.store.put(payment);
  }
}

export const double = (amount: number): number => {
  return amount * 2;
};

namespace Inner {
  export function half(amount: number) {
    return amount / 2;
  }
}

start();
