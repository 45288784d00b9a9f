/* SPDX-License-Identifier: MIT */
#ifndef LEDGER_H
#define LEDGER_H

#include <stddef.h>

#define LIMIT 1000

/* Payments, in order. */
typedef struct {
    long entries[LIMIT];
    size_t size;
} ledger;

struct entry {
    long amount;
};

size_t ledger_size(const ledger *one);

/* Puts a payment to the others. */
static int append(ledger *one,
                  long amount)
{
    one->entries[one->size++] = amount;
    return 0;
}

#endif
