/* A client that speaks WebSocket (RFC 6455), from the upgrade to the closing handshake.
 *
 * Receives   an http_connection's place and channel; input, from the channel; frames
 * Hands on   whole messages to the owner; frames to the channel. Pings and the closing handshake
 * are answered here Owns       the channel, and the parser
 *
 * States
 *   WS_CONNECTION_OPEN     messages go both ways                     -> CLOSING, OVER
 *   WS_CONNECTION_CLOSING  a close frame is queued or sent; the peer's is awaited, reading on
 *                                                                    -> OVER
 *   WS_CONNECTION_OVER     close frames are exchanged, or the peer broke the protocol: the channel
 *                          ends
 * A peer that ends without a close frame is gone.
 */
#ifndef PROGRESSD_BROKER_NET_WS_CONNECTION_H
#define PROGRESSD_BROKER_NET_WS_CONNECTION_H

#include "broker/net/channel.h"
#include "proto/message_tables.h"
#include "proto/ws_frame.h"

struct ws_connection;

struct ws_connection_events {
    /* A whole message; the payload is valid during the call. Text is valid UTF-8. */
    void (*on_message)(struct ws_connection *ws, enum ws_opcode opcode, const uint8_t *payload,
                       uint32_t len);
};

#define WS_CONNECTION_STATES(X)                                                                   \
    X(WS_CONNECTION_OPEN, "open", STATE_TO(WS_CONNECTION_CLOSING) | STATE_TO(WS_CONNECTION_OVER)) \
    X(WS_CONNECTION_CLOSING, "closing", STATE_TO(WS_CONNECTION_OVER))                             \
    X(WS_CONNECTION_OVER, "over", 0)
enum ws_connection_state { WS_CONNECTION_STATES(STATE_ENUM) };
extern const struct state_machine ws_connection_machine;

struct ws_connection {
    struct channel channel;
    struct ws_parser parser;
    uint16_t close_code; /* what it was closed with; 0: none */
    uint8_t state;       /* enum ws_connection_state */
};

/* Takes the place, in the same memory, of an http_connection after its upgrade. Input may be handed
 * on before this returns, unless it is within on_request. */
void ws_connection_begin(struct ws_connection *ws);

/* Queues a frame for this client alone. Takes the reference over; NULL closes the connection
 * (1011), since it stands for a frame that no memory was left for. */
void ws_connection_send(struct ws_connection *ws, struct bytes *frame);

/* Begins to close with a close frame, which is sent after what is queued. The owner calls
 * channel_abort() if on_closed takes too long. */
void ws_connection_close(struct ws_connection *ws, enum close_code code);

#endif
