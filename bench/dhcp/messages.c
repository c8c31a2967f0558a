#include "messages.h"

#include <string.h>

// ---------------------------------------------------------------------------------------------
// Bytes

struct writer {
  uint8_t *at;
};

static void put(struct writer *to, const void *bytes, size_t length) {
  memcpy(to->at, bytes, length);
  to->at += length;
}

static void put8(struct writer *to, uint8_t value) { *to->at++ = value; }

static void put16(struct writer *to, unsigned value) {
  put8(to, (uint8_t)(value >> 8));
  put8(to, (uint8_t)value);
}

static void put32(struct writer *to, uint32_t value) {
  put16(to, value >> 16);
  put16(to, value & 0xffff);
}

static void put_zeros(struct writer *to, size_t length) {
  memset(to->at, 0, length);
  to->at += length;
}

static unsigned get16(const uint8_t *from) { return (unsigned)from[0] << 8 | from[1]; }

static uint32_t get32(const uint8_t *from) { return (uint32_t)get16(from) << 16 | get16(from + 2); }

// ---------------------------------------------------------------------------------------------
// DHCPv4

enum {
  HEADER4_SIZE = 240, // With the magic cookie.
  MESSAGE4_MIN = 300, // RFC 1542 §2.1
  BROADCAST_FLAG = 0x8000,

  OPTION4_PAD = 0,
  OPTION4_REQUESTED_ADDRESS = 50,
  OPTION4_LEASE_TIME = 51,
  OPTION4_MESSAGE_TYPE = 53,
  OPTION4_SERVER_ID = 54,
  OPTION4_PARAMETERS = 55,
  OPTION4_CLIENT_ID = 61,
  OPTION4_END = 255,

  TYPE4_DISCOVER = 1,
  TYPE4_OFFER = 2,
  TYPE4_REQUEST = 3,
  TYPE4_ACK = 5,
  TYPE4_NAK = 6,
};

static const uint8_t magic_cookie[4] = {99, 130, 83, 99};

/// What common clients ask for: mask, routers, DNS, host name, domain, MTU, broadcast, NTP, search.
static const uint8_t parameters4[] = {1, 3, 6, 12, 15, 26, 28, 42, 119, 121};

static size_t write4(uint8_t *out, const struct path *path, uint32_t transaction,
                     const uint8_t *mac, const struct answer *offer) {
  struct writer to = {out};
  put8(&to, 1); // BOOTREQUEST
  put8(&to, 1); // Ethernet
  put8(&to, MAC_SIZE);
  put8(&to, path->relayed ? 1 : 0); // Hops.
  put32(&to, transaction);
  put16(&to, 0);
  put16(&to, path->relayed ? 0 : BROADCAST_FLAG);
  put_zeros(&to, 12); // ciaddr, yiaddr, siaddr
  put(&to, path->relay.bytes, 4);
  put(&to, mac, MAC_SIZE);
  put_zeros(&to, 10 + 64 + 128); // The rest of chaddr, sname, file.
  put(&to, magic_cookie, sizeof magic_cookie);
  put(&to, (uint8_t[]){OPTION4_MESSAGE_TYPE, 1, offer ? TYPE4_REQUEST : TYPE4_DISCOVER}, 3);
  put(&to, (uint8_t[]){OPTION4_CLIENT_ID, 1 + MAC_SIZE, 1}, 3);
  put(&to, mac, MAC_SIZE);
  if (offer) {
    put(&to, (uint8_t[]){OPTION4_REQUESTED_ADDRESS, 4}, 2);
    put(&to, offer->address.bytes, 4);
    put(&to, (uint8_t[]){OPTION4_SERVER_ID, 4}, 2);
    put(&to, offer->server_id, 4);
  }
  put(&to, (uint8_t[]){OPTION4_PARAMETERS, sizeof parameters4}, 2);
  put(&to, parameters4, sizeof parameters4);
  put8(&to, OPTION4_END);
  size_t length = (size_t)(to.at - out);
  if (length < MESSAGE4_MIN) put_zeros(&to, MESSAGE4_MIN - length);
  return (size_t)(to.at - out);
}

static bool read4(const uint8_t *bytes, size_t length, struct answer *answer) {
  if (length < HEADER4_SIZE || bytes[0] != 2 || bytes[2] != MAC_SIZE) return false;
  if (memcmp(bytes + HEADER4_SIZE - 4, magic_cookie, 4) != 0) return false;
  answer->transaction = get32(bytes + 4);
  memcpy(answer->address.bytes, bytes + 16, 4);
  memcpy(answer->mac, bytes + 28, MAC_SIZE);
  uint8_t type = 0;
  const uint8_t *end = bytes + length;
  for (const uint8_t *at = bytes + HEADER4_SIZE; at < end && *at != OPTION4_END;) {
    if (*at == OPTION4_PAD) {
      at++;
      continue;
    }
    if (end - at < 2 || end - at < 2 + at[1]) return false;
    const uint8_t *value = at + 2;
    if (at[0] == OPTION4_MESSAGE_TYPE && at[1] == 1) type = value[0];
    if (at[0] == OPTION4_LEASE_TIME && at[1] == 4) answer->has_lifetime = get32(value) > 0;
    if (at[0] == OPTION4_SERVER_ID && at[1] == 4) {
      memcpy(answer->server_id, value, 4);
      answer->server_id_length = 4;
    }
    at += 2 + at[1];
  }
  if (answer->server_id_length == 0) return false;
  switch (type) {
  case TYPE4_OFFER: answer->type = ANSWER_OFFER; return true;
  case TYPE4_ACK: answer->type = ANSWER_ACK; return true;
  case TYPE4_NAK: answer->type = ANSWER_REFUSED; return true;
  default: return false;
  }
}

// ---------------------------------------------------------------------------------------------
// DHCPv6

enum {
  TYPE6_SOLICIT = 1,
  TYPE6_ADVERTISE = 2,
  TYPE6_REQUEST = 3,
  TYPE6_REPLY = 7,
  TYPE6_RELAY_FORWARD = 12,
  TYPE6_RELAY_REPLY = 13,
  RELAY_HEADER_SIZE = 34,

  OPTION6_CLIENT_ID = 1,
  OPTION6_SERVER_ID = 2,
  OPTION6_IA_NA = 3,
  OPTION6_ADDRESS = 5,
  OPTION6_PARAMETERS = 6,
  OPTION6_ELAPSED = 8,
  OPTION6_RELAY_MESSAGE = 9,
  OPTION6_STATUS = 13,
  IA_NA_HEADER_SIZE = 12,
  IA_ADDRESS_SIZE = 24,

  DNS_SERVERS = 23,
  DOMAIN_SEARCH = 24,
};

/// A DUID of a link-layer address (RFC 8415 §11.4) is this, and the MAC.
static const uint8_t duid_kind[] = {0, 3, 0, 1};
enum { DUID_SIZE = sizeof duid_kind + MAC_SIZE };

static void put_header6(struct writer *to, unsigned code, size_t length) {
  put16(to, code);
  put16(to, (unsigned)length);
}

static size_t write6(uint8_t *out, const struct path *path, uint32_t transaction,
                     const uint8_t *mac, const struct answer *offer) {
  struct writer to = {out};
  if (path->relayed) {
    // The peer is the client: its link-local address is made of its MAC (RFC 4291, appendix A).
    const uint8_t network[8] = {0xfe, 0x80};
    const uint8_t interface[8] = {mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
    put8(&to, TYPE6_RELAY_FORWARD);
    put8(&to, 0); // Hops.
    put(&to, path->relay.bytes, ADDRESS_SIZE);
    put(&to, network, sizeof network);
    put(&to, interface, sizeof interface);
    put_header6(&to, OPTION6_RELAY_MESSAGE, 0); // How long it is turns out below.
  }
  uint8_t *message = to.at;
  put32(&to, (uint32_t)(offer ? TYPE6_REQUEST : TYPE6_SOLICIT) << TRANSACTION_BITS | transaction);
  put_header6(&to, OPTION6_CLIENT_ID, DUID_SIZE);
  put(&to, duid_kind, sizeof duid_kind);
  put(&to, mac, MAC_SIZE);
  if (offer) {
    put_header6(&to, OPTION6_SERVER_ID, offer->server_id_length);
    put(&to, offer->server_id, offer->server_id_length);
  }
  put_header6(&to, OPTION6_IA_NA, IA_NA_HEADER_SIZE + (offer ? 4 + IA_ADDRESS_SIZE : 0));
  put32(&to, 1); // IAID
  put_zeros(&to, 8); // T1, T2
  if (offer) {
    put_header6(&to, OPTION6_ADDRESS, IA_ADDRESS_SIZE);
    put(&to, offer->address.bytes, ADDRESS_SIZE);
    put_zeros(&to, 8); // Lifetimes.
  }
  put_header6(&to, OPTION6_ELAPSED, 2);
  put16(&to, 0);
  put_header6(&to, OPTION6_PARAMETERS, 4);
  put16(&to, DNS_SERVERS);
  put16(&to, DOMAIN_SEARCH);
  if (path->relayed) {
    struct writer length = {message - 2};
    put16(&length, (unsigned)(to.at - message));
  }
  return (size_t)(to.at - out);
}

/// Steps through options: false at the end, or when what is left is no whole option.
static bool next_option6(const uint8_t **at, const uint8_t *end, unsigned *code,
                         const uint8_t **value, size_t *length) {
  if (end - *at < 4) return false;
  *code = get16(*at);
  *length = get16(*at + 2);
  *value = *at + 4;
  if ((size_t)(end - *value) < *length) return false;
  *at = *value + *length;
  return true;
}

/// The address of an IA_NA; false if it has none, or a status other than success.
static bool read_association(const uint8_t *at, size_t size, struct answer *answer) {
  if (size < IA_NA_HEADER_SIZE) return false;
  const uint8_t *end = at + size, *value;
  unsigned code;
  size_t length;
  bool has_address = false;
  at += IA_NA_HEADER_SIZE;
  while (next_option6(&at, end, &code, &value, &length)) {
    if (code == OPTION6_STATUS && length >= 2 && get16(value) != 0) return false;
    if (code != OPTION6_ADDRESS || length < IA_ADDRESS_SIZE) continue;
    memcpy(answer->address.bytes, value, ADDRESS_SIZE);
    answer->has_lifetime = get32(value + ADDRESS_SIZE + 4) > 0;
    has_address = true;
  }
  return has_address;
}

static bool read6(const uint8_t *bytes, size_t size, struct answer *answer) {
  const uint8_t *at = bytes, *end = bytes + size, *value;
  unsigned code;
  size_t length;
  if (size >= RELAY_HEADER_SIZE && bytes[0] == TYPE6_RELAY_REPLY) {
    at += RELAY_HEADER_SIZE;
    while (next_option6(&at, end, &code, &value, &length)) {
      if (code == OPTION6_RELAY_MESSAGE && length > 0 && value[0] != TYPE6_RELAY_REPLY) {
        return read6(value, length, answer);
      }
    }
    return false;
  }
  if (size < 4 || (at[0] != TYPE6_ADVERTISE && at[0] != TYPE6_REPLY)) return false;
  bool has_client = false, has_address = false;
  answer->type = at[0] == TYPE6_REPLY ? ANSWER_ACK : ANSWER_OFFER;
  answer->transaction = get32(at) & ((1u << TRANSACTION_BITS) - 1);
  at += 4;
  while (next_option6(&at, end, &code, &value, &length)) {
    if (code == OPTION6_CLIENT_ID && length == DUID_SIZE) {
      has_client = memcmp(value, duid_kind, sizeof duid_kind) == 0;
      memcpy(answer->mac, value + sizeof duid_kind, MAC_SIZE);
    } else if (code == OPTION6_SERVER_ID && length > 0 && length <= SERVER_ID_MAX) {
      memcpy(answer->server_id, value, length);
      answer->server_id_length = length;
    } else if (code == OPTION6_IA_NA) {
      has_address = read_association(value, length, answer) || has_address;
    }
  }
  if (!has_address) answer->type = ANSWER_REFUSED;
  return has_client && answer->server_id_length > 0;
}

// ---------------------------------------------------------------------------------------------

size_t write_discover(uint8_t *out, const struct path *path, uint32_t transaction,
                      const uint8_t mac[MAC_SIZE]) {
  return (path->version == 4 ? write4 : write6)(out, path, transaction, mac, NULL);
}

size_t write_request(uint8_t *out, const struct path *path, uint32_t transaction,
                     const uint8_t mac[MAC_SIZE], const struct answer *offer) {
  return (path->version == 4 ? write4 : write6)(out, path, transaction, mac, offer);
}

bool read_answer(const uint8_t *bytes, size_t length, const struct path *path,
                 struct answer *answer) {
  memset(answer, 0, sizeof *answer);
  return path->version == 4 ? read4(bytes, length, answer) : read6(bytes, length, answer);
}
