#include "tally.h"
#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void add_latency(struct histogram *histogram, uint64_t nanoseconds) {
  const uint64_t value = nanoseconds / 1000;
  int shift = 0;
  while (value >> shift >= 2 * SUBSTEPS) shift++;
  const uint64_t index = (uint64_t)shift * SUBSTEPS + (value >> shift);
  histogram->counts[index < HISTOGRAM_SIZE ? index : HISTOGRAM_SIZE - 1]++;
  histogram->count++;
  if (value > histogram->greatest) histogram->greatest = value;
}

static double percentile_ms(const struct histogram *histogram, double percent) {
  uint64_t left = (uint64_t)((double)histogram->count * percent / 100);
  for (uint64_t index = 0; index < HISTOGRAM_SIZE; index++) {
    if (left < histogram->counts[index]) {
      const uint64_t shift = index < 2 * SUBSTEPS ? 0 : index / SUBSTEPS - 1;
      const uint64_t low = (index - shift * SUBSTEPS) << shift;
      return ((double)low + (double)(1ull << shift) / 2) / 1000;
    }
    left -= histogram->counts[index];
  }
  return (double)histogram->greatest / 1000;
}

void print_latencies(const char *name, const struct histogram *histogram) {
  if (histogram->count == 0) {
    printf(",\"%s\":null", name);
    return;
  }
  printf(",\"%s\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f}", name,
         percentile_ms(histogram, 50), percentile_ms(histogram, 90), percentile_ms(histogram, 99),
         (double)histogram->greatest / 1000);
}

bool is_same(const struct address *a, const struct address *b) {
  return memcmp(a, b, sizeof *a) == 0;
}

struct owner {
  struct address address;
  uint32_t client;
  bool used;
};

struct owners make_owners(uint32_t clients) {
  size_t size = 1024;
  while (size < 4 * (size_t)clients) size *= 2;
  struct owners owners = {calloc(size, sizeof *owners.entries), size - 1, 0};
  if (!owners.entries) fail("no memory for %u clients", clients);
  return owners;
}

bool takes(struct owners *owners, const struct address *address, uint32_t client) {
  uint64_t hash = 14695981039346656037u; // FNV-1a
  for (int i = 0; i < ADDRESS_SIZE; i++) hash = (hash ^ address->bytes[i]) * 1099511628211u;
  for (size_t at = (hash ^ hash >> 32) & owners->mask;; at = (at + 1) & owners->mask) {
    struct owner *owner = &owners->entries[at];
    if (owner->used && is_same(&owner->address, address)) return owner->client == client;
    if (owner->used) continue;
    if (owners->used * 2 > owners->mask) fail("the server gives clients ever new addresses");
    owners->used++;
    *owner = (struct owner){*address, client, true};
    return true;
  }
}
