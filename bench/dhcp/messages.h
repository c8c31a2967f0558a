// The four messages by which a client gets an address: DISCOVER, OFFER, REQUEST and ACK of DHCPv4
// (RFC 2131 §3.1). Those of DHCPv6 (RFC 8415 §18.2.1), which are SOLICIT, ADVERTISE, REQUEST and
// REPLY, have the same names here.

#ifndef MESSAGES_H
#define MESSAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MAC_SIZE = 6, ADDRESS_SIZE = 16, SERVER_ID_MAX = 130, MESSAGE_MAX = 600 };

/// In network order; of an IPv4 address the first four bytes, and zeros.
struct address {
  uint8_t bytes[ADDRESS_SIZE];
};

/// How messages reach the server.
struct path {
  int version; ///< 4 or 6.
  bool relayed;
  struct address relay; ///< giaddr, or the link address.
};

enum answer_type { ANSWER_OFFER, ANSWER_ACK, ANSWER_REFUSED };

/// What a server said.
struct answer {
  enum answer_type type; ///< Refused: a NAK, or a message without an address.
  uint32_t transaction;
  uint8_t mac[MAC_SIZE]; ///< Of the client that is meant.
  struct address address;
  bool has_lifetime; ///< Whether it says how long, and more than 0 s.
  uint8_t server_id[SERVER_ID_MAX];
  size_t server_id_length;
};

/// Transactions are numbers of 24 bits, which is what DHCPv6 has.
enum { TRANSACTION_BITS = 24 };

/// Both write at most MESSAGE_MAX bytes, and return how many.
size_t write_discover(uint8_t *out, const struct path *path, uint32_t transaction,
                      const uint8_t mac[MAC_SIZE]);
size_t write_request(uint8_t *out, const struct path *path, uint32_t transaction,
                     const uint8_t mac[MAC_SIZE], const struct answer *offer);

/// False for what is no whole answer to a client, whatever it is.
bool read_answer(const uint8_t *bytes, size_t length, const struct path *path,
                 struct answer *answer);

#endif
