// Load for DHCP servers: clients that get addresses by four messages, from one socket and thread.
//   load --window 64 .. closed loop: so many exchanges are under way at any time.
//   load --rate 5000 .. open loop: so many are begun each second, whatever becomes of them.
//   load --probe ..     reads lines `CLIENT INTERVAL_US TIMEOUT_MS`, and asks as that client until
//                       it is offered its address.
// Prints JSON, one object a line. What its members mean: bench/README.md.

#include "line.h"
#include "messages.h"
#include "settings.h"
#include "tally.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

enum { BURST_MAX = 512 };
static const uint64_t second = 1000000000, sweep_interval = 20000000;

// ---------------------------------------------------------------------------------------------
// Exchanges

enum phase { FREE, DISCOVERING, REQUESTING };

struct exchange {
  enum phase phase;
  uint8_t uses;
  uint32_t client;
  uint64_t sent_at;
  struct address offered;
};

/// The low bits of a transaction are the slot of its exchange, the others how often that was used.
enum { SLOT_BITS = 16, SLOT_MASK = (1 << SLOT_BITS) - 1 };

struct load {
  const struct settings *settings;
  struct line *line;
  struct exchange exchanges[SLOTS_MAX];
  uint32_t free_slots[SLOTS_MAX], free_count, slots, next;
  struct owners owners;
  struct histogram offers, acks;
  uint64_t started, skipped, completed, completed_in_time, lost, refused, wrong, stray;
};

static uint32_t transaction_of(const struct load *load, uint32_t slot) {
  return (uint32_t)load->exchanges[slot].uses << SLOT_BITS | slot;
}

static void begin_exchange(struct load *load) {
  const uint32_t slot = load->free_slots[--load->free_count];
  struct exchange *exchange = &load->exchanges[slot];
  exchange->phase = DISCOVERING;
  exchange->uses++;
  exchange->client = load->settings->first + load->next;
  exchange->sent_at = now();
  load->next = (load->next + 1) % load->settings->clients;
  load->started++;
  queue(load->line, transaction_of(load, slot), exchange->client, NULL);
}

static void end_exchange(struct load *load, uint32_t slot) {
  load->exchanges[slot].phase = FREE;
  load->free_slots[load->free_count++] = slot;
}

/// Whether an address is the client's: nobody else's, and the one that was expected.
static bool is_right(struct load *load, const struct exchange *exchange,
                     const struct answer *answer) {
  if (!answer->has_lifetime) return false;
  if (load->settings->expects) {
    const struct address expected = expected_address(load->settings, exchange->client);
    return is_same(&answer->address, &expected);
  }
  return answer->type == ANSWER_OFFER || takes(&load->owners, &answer->address, exchange->client);
}

/// The exchange that an answer belongs to; null if nobody waits for it.
static struct exchange *find_exchange(struct load *load, const struct answer *answer) {
  const uint32_t slot = answer->transaction & SLOT_MASK;
  if (slot >= load->slots || answer->transaction != transaction_of(load, slot)) return NULL;
  struct exchange *exchange = &load->exchanges[slot];
  uint8_t mac[MAC_SIZE];
  mac_of(load->settings, exchange->client, mac);
  if (memcmp(answer->mac, mac, MAC_SIZE) != 0) return NULL;
  switch (answer->type) {
  case ANSWER_OFFER: return exchange->phase == DISCOVERING ? exchange : NULL;
  case ANSWER_ACK: return exchange->phase == REQUESTING ? exchange : NULL;
  default: return exchange->phase == FREE ? NULL : exchange;
  }
}

static void take_answer(struct load *load, const struct answer *answer, uint64_t time,
                        bool in_time) {
  struct exchange *exchange = find_exchange(load, answer);
  if (!exchange) {
    load->stray++;
    return;
  }
  const bool is_ack = answer->type == ANSWER_ACK;
  if (answer->type == ANSWER_REFUSED) {
    load->refused++;
  } else if (!is_right(load, exchange, answer) ||
             (is_ack && !is_same(&answer->address, &exchange->offered))) {
    load->wrong++;
  } else if (is_ack) {
    add_latency(&load->acks, time - exchange->sent_at);
    load->completed++;
    if (in_time) load->completed_in_time++;
  } else {
    add_latency(&load->offers, time - exchange->sent_at);
    exchange->phase = REQUESTING;
    exchange->offered = answer->address;
    exchange->sent_at = time;
    queue(load->line, answer->transaction, exchange->client, answer);
    return;
  }
  end_exchange(load, answer->transaction & SLOT_MASK);
}

static void give_up_on_late(struct load *load, uint64_t time) {
  const uint64_t patience = (uint64_t)(load->settings->timeout * (double)second);
  for (uint32_t slot = 0; slot < load->slots; slot++) {
    const struct exchange *exchange = &load->exchanges[slot];
    if (exchange->phase == FREE || time - exchange->sent_at < patience) continue;
    load->lost++;
    end_exchange(load, slot);
  }
}

/// Begins what is due; returns when the next is.
static uint64_t begin_due(struct load *load, uint64_t start, uint64_t time) {
  const double rate = load->settings->rate;
  if (rate == 0) {
    while (load->free_count > 0) begin_exchange(load);
    return time + sweep_interval;
  }
  const uint64_t due = (uint64_t)((double)(time - start) / (double)second * rate);
  for (int burst = 0; load->started + load->skipped < due && burst < BURST_MAX; burst++) {
    if (load->free_count > 0) begin_exchange(load);
    else load->skipped++;
  }
  const uint64_t begun = load->started + load->skipped;
  return start + (uint64_t)((double)(begun + 1) / rate * (double)second);
}

static void print_result(const struct load *load) {
  const struct settings *settings = load->settings;
  struct rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
  printf("{\"seconds\":%.3f,\"started\":%lu,\"skipped\":%lu,\"completed\":%lu,"
         "\"completed_in_time\":%lu,\"lost\":%lu,\"refused\":%lu,\"wrong\":%lu,\"stray\":%lu,"
         "\"dropped\":%u,\"cpu_seconds\":%.3f",
         settings->seconds, load->started, load->skipped, load->completed, load->completed_in_time,
         load->lost, load->refused, load->wrong, load->stray, count_drops(load->line), cpu);
  print_latencies("offer_ms", &load->offers);
  print_latencies("ack_ms", &load->acks);
  puts("}");
}

static void run_load(struct line *line, const struct settings *settings) {
  static struct load load;
  load.settings = settings;
  load.line = line;
  load.slots = settings->rate > 0 ? SLOTS_MAX : settings->window;
  load.owners = make_owners(settings->clients);
  while (load.free_count < load.slots) {
    load.free_slots[load.free_count] = load.slots - 1 - load.free_count;
    load.free_count++;
  }
  const uint64_t start = now(), end = start + (uint64_t)(settings->seconds * (double)second);
  uint64_t time = start, next_sweep = start + sweep_interval;
  while (time < end || load.free_count < load.slots) {
    uint64_t next = time < end ? begin_due(&load, start, time) : next_sweep;
    flush(line);
    const unsigned count = receive(line, next < next_sweep ? next : next_sweep);
    time = now();
    for (unsigned i = 0; i < count; i++) {
      struct answer answer;
      if (read_answer(line->in[i], line->receiving[i].msg_len, &settings->path, &answer)) {
        take_answer(&load, &answer, time, time < end);
      } else {
        load.stray++;
      }
    }
    flush(line);
    time = now();
    if (time >= next_sweep) {
      give_up_on_late(&load, time);
      next_sweep = time + sweep_interval;
    }
  }
  print_result(&load);
}

// ---------------------------------------------------------------------------------------------
// Probes

/// Asks as a client until it is offered its address (any, if none is expected), or no longer.
static void probe(struct line *line, uint32_t client, uint64_t interval, uint64_t timeout) {
  static uint32_t transaction;
  const struct settings *settings = line->settings;
  const struct address expected = expected_address(settings, client);
  const uint64_t start = now(), end = start + timeout;
  uint64_t answered = 0, next = start, time = start;
  unsigned long sent = 0, others = 0;
  transaction = (transaction + 1) & ((1u << TRANSACTION_BITS) - 1);
  for (; answered == 0 && time < end; time = now()) {
    if (time >= next) {
      queue(line, transaction, client, NULL);
      flush(line);
      sent++;
      next = time + interval;
    }
    const unsigned count = receive(line, next);
    for (unsigned i = 0; i < count && answered == 0; i++) {
      struct answer answer;
      if (!read_answer(line->in[i], line->receiving[i].msg_len, &settings->path, &answer)) continue;
      if (answer.transaction != transaction || answer.type != ANSWER_OFFER) continue;
      if (settings->expects && !is_same(&answer.address, &expected)) others++;
      else answered = now();
    }
  }
  printf("{\"client\":%u,\"began_ns\":%lu,\"answered_ns\":%lu,\"sent\":%lu,\"others\":%lu}\n",
         client, start, answered, sent, others);
  fflush(stdout);
}

static void run_probes(struct line *line) {
  char text[100];
  while (fgets(text, sizeof text, stdin)) {
    unsigned client;
    unsigned long interval_us, timeout_ms;
    if (sscanf(text, "%u %lu %lu", &client, &interval_us, &timeout_ms) != 3) {
      fail("not CLIENT INTERVAL_US TIMEOUT_MS: %s", text);
    }
    probe(line, client, interval_us * 1000, timeout_ms * 1000000);
  }
}

int main(int count, char **words) {
  static struct line line;
  const struct settings settings = read_settings(count, words);
  open_line(&line, &settings);
  if (settings.probe) run_probes(&line);
  else run_load(&line, &settings);
  return 0;
}
