#include "settings.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

_Noreturn void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("load: ", stderr);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  va_end(arguments);
  exit(2);
}

static double number_of(const char *text, double least, double most, const char *name) {
  char *end;
  const double value = strtod(text, &end);
  if (end == text || *end != '\0' || !(value >= least && value <= most)) {
    fail("--%s must be a number of %g to %g", name, least, most);
  }
  return value;
}

static uint64_t mac_number(const char *text) {
  unsigned byte[MAC_SIZE];
  uint64_t number = 0;
  if (sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x", byte, byte + 1, byte + 2, byte + 3, byte + 4,
             byte + 5) != MAC_SIZE) {
    fail("--first-mac must be a MAC address");
  }
  for (int i = 0; i < MAC_SIZE; i++) number = number << 8 | byte[i];
  return number;
}

static void read_address(const char *text, const char *name, struct address *address) {
  if (inet_pton(strchr(text, ':') ? AF_INET6 : AF_INET, text, address->bytes) != 1) {
    fail("--%s must be an IP address", name);
  }
}

static socklen_t make_socket_address(struct sockaddr_storage *to, int version,
                                     const struct address *address, uint16_t port, unsigned scope) {
  if (version == 4) {
    struct sockaddr_in *v4 = (struct sockaddr_in *)to;
    *v4 = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    memcpy(&v4->sin_addr, address->bytes, sizeof v4->sin_addr);
    return sizeof *v4;
  }
  struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)to;
  *v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
  v6->sin6_scope_id = scope;
  memcpy(&v6->sin6_addr, address->bytes, sizeof v6->sin6_addr);
  return sizeof *v6;
}

/// Relays have an address and the server's port; clients the interface, and all servers' address.
static void place(struct settings *settings, const char *relay, const char *server) {
  struct path *path = &settings->path;
  const struct address none = {{0}};
  struct address to;
  const bool is4 = path->version == 4;
  path->relayed = relay != NULL;
  if (relay) {
    if (!server) fail("--relay needs --server");
    read_address(relay, "relay", &path->relay);
    read_address(server, "server", &to);
    settings->interface = NULL;
    make_socket_address(&settings->local, path->version, &path->relay, is4 ? 67 : 547, 0);
    settings->address_length =
        make_socket_address(&settings->server, path->version, &to, is4 ? 67 : 547, 0);
    return;
  }
  const unsigned scope = settings->interface ? if_nametoindex(settings->interface) : 0;
  if (scope == 0) fail("--interface must be one that is there, or --relay be set");
  memset(&to, 0, sizeof to);
  if (inet_pton(is4 ? AF_INET : AF_INET6, is4 ? "255.255.255.255" : "ff02::1:2", to.bytes) != 1) {
    fail("no address of all servers");
  }
  make_socket_address(&settings->local, path->version, &none, is4 ? 68 : 546, 0);
  settings->address_length =
      make_socket_address(&settings->server, path->version, &to, is4 ? 67 : 547, scope);
}

struct settings read_settings(int count, char **words) {
  struct settings settings = {.clients = 1, .seconds = 1, .timeout = 1, .window = 64};
  const char *relay = NULL, *server = NULL;
  enum { V6 = 1, INTERFACE, RELAY, SERVER, FIRST_MAC, FIRST, CLIENTS, EXPECT, WINDOW, RATE, SECONDS,
         TIMEOUT, PROBE };
  static const struct option names[] = {
      {"v6", no_argument, 0, V6},
      {"interface", required_argument, 0, INTERFACE},
      {"relay", required_argument, 0, RELAY},
      {"server", required_argument, 0, SERVER},
      {"first-mac", required_argument, 0, FIRST_MAC},
      {"first", required_argument, 0, FIRST},
      {"clients", required_argument, 0, CLIENTS},
      {"expect", required_argument, 0, EXPECT},
      {"window", required_argument, 0, WINDOW},
      {"rate", required_argument, 0, RATE},
      {"seconds", required_argument, 0, SECONDS},
      {"timeout", required_argument, 0, TIMEOUT},
      {"probe", no_argument, 0, PROBE},
      {0},
  };
  settings.path.version = 4;
  for (int option; (option = getopt_long(count, words, "", names, NULL)) != -1;) {
    switch (option) {
    case V6: settings.path.version = 6; break;
    case INTERFACE: settings.interface = optarg; break;
    case RELAY: relay = optarg; break;
    case SERVER: server = optarg; break;
    case FIRST_MAC: settings.first_mac = mac_number(optarg); break;
    case FIRST: settings.first = (uint32_t)number_of(optarg, 0, 1 << 30, "first"); break;
    case CLIENTS: settings.clients = (uint32_t)number_of(optarg, 1, 1 << 24, "clients"); break;
    case EXPECT:
      settings.expects = true;
      read_address(optarg, "expect", &settings.expected);
      break;
    case WINDOW: settings.window = (uint32_t)number_of(optarg, 1, SLOTS_MAX, "window"); break;
    case RATE: settings.rate = number_of(optarg, 1, 1e6, "rate"); break;
    case SECONDS: settings.seconds = number_of(optarg, 0.001, 3600, "seconds"); break;
    case TIMEOUT: settings.timeout = number_of(optarg, 0.001, 60, "timeout"); break;
    case PROBE: settings.probe = true; break;
    default: exit(2);
    }
  }
  if (optind < count) fail("what is %s?", words[optind]);
  place(&settings, relay, server);
  return settings;
}

void mac_of(const struct settings *settings, uint32_t client, uint8_t mac[MAC_SIZE]) {
  const uint64_t number = settings->first_mac + client;
  for (int i = 0; i < MAC_SIZE; i++) mac[i] = (uint8_t)(number >> 8 * (MAC_SIZE - 1 - i));
}

struct address expected_address(const struct settings *settings, uint32_t client) {
  struct address address = settings->expected;
  uint64_t carry = client;
  for (int i = settings->path.version == 4 ? 3 : ADDRESS_SIZE - 1; i >= 0; i--) {
    carry += address.bytes[i];
    address.bytes[i] = (uint8_t)carry;
    carry >>= 8;
  }
  return address;
}
