#include "line.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <string.h>
#include <time.h>

enum { SOCKET_BUFFER = 16 << 20 };
static const uint64_t second = 1000000000;

uint64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * second + (uint64_t)time.tv_nsec;
}

static void set_option(int fd, int option, const void *value, socklen_t size, const char *name) {
  if (setsockopt(fd, SOL_SOCKET, option, value, size) != 0) fail("%s: %s", name, strerror(errno));
}

void open_line(struct line *line, const struct settings *settings) {
  *line = (struct line){.settings = settings};
  line->fd = socket(settings->local.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (line->fd < 0) fail("socket: %s", strerror(errno));
  const int on = 1, buffer = SOCKET_BUFFER;
  set_option(line->fd, SO_BROADCAST, &on, sizeof on, "SO_BROADCAST");
  set_option(line->fd, SO_RCVBUFFORCE, &buffer, sizeof buffer, "SO_RCVBUFFORCE");
  set_option(line->fd, SO_SNDBUFFORCE, &buffer, sizeof buffer, "SO_SNDBUFFORCE");
  if (settings->interface) {
    set_option(line->fd, SO_BINDTODEVICE, settings->interface,
               (socklen_t)strlen(settings->interface) + 1, settings->interface);
  }
  if (bind(line->fd, (const void *)&settings->local, settings->address_length) != 0) {
    fail("bind: %s", strerror(errno));
  }
  for (int i = 0; i < BATCH; i++) {
    line->out_vectors[i].iov_base = line->out[i];
    line->in_vectors[i] = (struct iovec){line->in[i], sizeof line->in[i]};
    line->sending[i].msg_hdr = (struct msghdr){.msg_name = (void *)&settings->server,
                                               .msg_namelen = settings->address_length,
                                               .msg_iov = &line->out_vectors[i],
                                               .msg_iovlen = 1};
    line->receiving[i].msg_hdr = (struct msghdr){.msg_iov = &line->in_vectors[i], .msg_iovlen = 1};
  }
}

void flush(struct line *line) {
  for (unsigned sent = 0; sent < line->queued;) {
    const int count = sendmmsg(line->fd, line->sending + sent, line->queued - sent, 0);
    if (count > 0) sent += (unsigned)count;
    else if (errno != EINTR && errno != ENOBUFS) fail("send: %s", strerror(errno));
  }
  line->queued = 0;
}

void queue(struct line *line, uint32_t transaction, uint32_t client,
                  const struct answer *offer) {
  if (line->queued == BATCH) flush(line);
  uint8_t mac[MAC_SIZE], *out = line->out[line->queued];
  mac_of(line->settings, client, mac);
  const struct path *path = &line->settings->path;
  line->out_vectors[line->queued++].iov_len =
      offer ? write_request(out, path, transaction, mac, offer)
            : write_discover(out, path, transaction, mac);
}

unsigned receive(struct line *line, uint64_t until) {
  int count = recvmmsg(line->fd, line->receiving, BATCH, MSG_DONTWAIT, NULL);
  if (count > 0) return (unsigned)count;
  const uint64_t time = now(), wait = until > time ? until - time : 0;
  struct pollfd readable = {line->fd, POLLIN, 0};
  const struct timespec patience = {(time_t)(wait / second), (long)(wait % second)};
  if (ppoll(&readable, 1, &patience, NULL) < 1) return 0;
  count = recvmmsg(line->fd, line->receiving, BATCH, MSG_DONTWAIT, NULL);
  return count > 0 ? (unsigned)count : 0;
}

unsigned count_drops(const struct line *line) {
  uint32_t memory[SK_MEMINFO_VARS] = {0};
  socklen_t size = sizeof memory;
  getsockopt(line->fd, SOL_SOCKET, SO_MEMINFO, memory, &size);
  return memory[SK_MEMINFO_DROPS];
}
