#include "proto/shared_text.h"

#include "proto/ws_frame.h"

/* The head of a server's frame: 2 bytes, and 2 or 8 more for a longer length (RFC 6455, 5.2). */
static uint32_t room_for(size_t text_len)
{
    return text_len < 126 ? 2 : text_len <= UINT16_MAX ? 4 : 10;
}

/* The room in bytes of that length, room included. */
static uint32_t room_in(uint32_t len)
{
    return len < 2 + 126 ? 2 : len <= 4 + UINT16_MAX ? 4 : 10;
}

struct bytes *shared_text_new(struct span text)
{
    const uint32_t room = room_for(text.len);

    if (text.len > UINT32_MAX - room) {
        return NULL;
    }
    struct bytes *shared = bytes_new(room + (uint32_t)text.len);
    if (shared && text.len > 0) {
        memcpy(shared->data + room, text.at, text.len);
    }
    return shared;
}

struct span shared_text(const struct bytes *shared)
{
    const uint32_t room = room_in(shared->len);

    return (struct span){(const char *)shared->data + room, shared->len - room};
}

struct bytes *shared_text_frame(struct bytes *shared)
{
    uint8_t head[WS_HEADER_MAX];
    const uint32_t room = room_in(shared->len);
    const size_t len = ws_frame_header(head, WS_TEXT, shared->len - room, NULL);

    assert(len == room);
    memcpy(shared->data, head, len);
    return shared;
}
