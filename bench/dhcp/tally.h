// What is counted: how long answers took, and who has which address.

#ifndef TALLY_H
#define TALLY_H

#include "messages.h"

enum { SUBSTEPS = 128, HISTOGRAM_SIZE = SUBSTEPS * 27 };

/// Latencies in steps of less than 1 % of the value.
struct histogram {
  uint64_t counts[HISTOGRAM_SIZE], count, greatest; ///< In microseconds.
};

void add_latency(struct histogram *histogram, uint64_t nanoseconds);

/// Prints a JSON member, behind a comma: percentiles in milliseconds, or null.
void print_latencies(const char *name, const struct histogram *histogram);

/// Which client has an address: a hash table with linear probing, at most half full.
struct owners {
  struct owner *entries;
  size_t mask, used;
};

struct owners make_owners(uint32_t clients);

/// Whether the address is the client's from now on: false if another has it.
bool takes(struct owners *owners, const struct address *address, uint32_t client);

bool is_same(const struct address *a, const struct address *b);

#endif
