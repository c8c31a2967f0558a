// What the command line says.

#ifndef SETTINGS_H
#define SETTINGS_H

#include "messages.h"

#include <sys/socket.h>

enum { SLOTS_MAX = 60000 };

struct settings {
  struct path path;
  const char *interface; ///< For messages that are not relayed.
  struct sockaddr_storage local, server;
  socklen_t address_length;
  uint64_t first_mac;      ///< Client n has the MAC first_mac + n.
  uint32_t first, clients; ///< From which client on, and how many.
  bool expects;            ///< Whether client n must be told the address `expected` + n.
  struct address expected;
  uint32_t window; ///< Exchanges that are under way at any time, unless there is a rate.
  double rate;     ///< Exchanges that are begun each second; 0 for none.
  double seconds;
  double timeout; ///< Of one message, in seconds.
  bool probe;
};

struct settings read_settings(int count, char **words);

void mac_of(const struct settings *settings, uint32_t client, uint8_t mac[MAC_SIZE]);
struct address expected_address(const struct settings *settings, uint32_t client);

/// Says why on standard error, and ends with status 2.
_Noreturn void fail(const char *format, ...);

#endif
