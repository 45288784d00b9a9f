/* Copyright the authors. */
package org.example;

import java.util.List;

/** Payments, in order. */
@Deprecated
public class Ledger implements Store {
    private final List<Long> entries;

    public Ledger(List<Long> entries) {
        this.entries = entries;
    }

    /** Puts a payment to the others. */
    @Override
    public int append(long amount) {
        entries.add(amount);
        return entries.size();
    }

    enum State {
        OPEN, CLOSED;

        boolean isOpen() {
            return this == OPEN;
        }
    }
}

interface Store {
    int append(long amount);
}
