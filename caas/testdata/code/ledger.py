#!/usr/bin/env python3
# Copyright the authors.
# SPDX-License-Identifier: MIT

"""A ledger of payments."""

from __future__ import annotations

import asyncio
from decimal import Decimal  # exact

LIMIT = Decimal("1000")
TIMEOUT = 30

# Not about the class below.


class Ledger(Base):
    """Payments, in order."""

    size: int = 0

    class Entry:
        def __init__(self, amount):
            self.amount = amount

    @property
    def total(self) -> Decimal:
        return sum(entry.amount for entry in self.entries)

    # Waits for the store.
    @retry(times=3)
    @logged
    async def append(
        self,
        amount: Decimal,
        memo: str = "",
    ) -> int:
        await self.store.put(amount)
        return self.size


async def main():
    await Ledger().append(Decimal(1))


if __name__ == "__main__":
    asyncio.run(main())
