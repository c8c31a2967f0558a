// The socket to the servers, which takes and gives messages in batches.

#ifndef LINE_H
#define LINE_H

#include "settings.h"

#include <sys/socket.h>

enum { BATCH = 64 };

struct line {
  int fd;
  const struct settings *settings;
  unsigned queued;
  uint8_t out[BATCH][MESSAGE_MAX], in[BATCH][1500];
  struct iovec out_vectors[BATCH], in_vectors[BATCH];
  struct mmsghdr sending[BATCH], receiving[BATCH];
};

void open_line(struct line *line, const struct settings *settings);

/// Sends a DISCOVER, or the REQUEST for an offer, with the next batch.
void queue(struct line *line, uint32_t transaction, uint32_t client, const struct answer *offer);

void flush(struct line *line);

/// Waits until something has arrived, or until it is time; returns how many messages are in `in`.
unsigned receive(struct line *line, uint64_t until);

/// How many messages arrived when the buffer of the socket was full.
unsigned count_drops(const struct line *line);

/// Nanoseconds of the monotonic clock.
uint64_t now(void);

#endif
