/* The frame parser tells the same of a stream however it is cut, and no more than it may.
 *
 * Input: a byte whose lowest bit is the peer and whose rest is the maximum, the cuts, the number
 * of the allocation that is to fail, the stream.
 */
#include <errno.h>
#include <string.h>

#include "common/mem.h"
#include "common/text.h"
#include "fuzz.h"
#include "proto/utf8.h"
#include "proto/ws_frame.h"

struct run {
    struct ws_parser parser;
    struct text told; /* the events, each as its head and its payload */
    int outcome;      /* 0, or how it ended */
};

static void tell(struct run *run, const struct ws_event *event)
{
    if (event->opcode == WS_TEXT) {
        FUZZ_ASSERT(utf8_is_valid(event->payload, event->len));
    }
    if (event->opcode >= WS_CLOSE) {
        FUZZ_ASSERT(event->len <= 125);
    } else {
        FUZZ_ASSERT(event->len <= run->parser.max_message);
    }
    text_printf(&run->told, "%x %u %u ", event->opcode, event->close_code, event->len);
    text_append(&run->told, event->payload, event->len);
}

/* Feeds one piece from memory of its own. */
static void feed(struct run *run, const uint8_t *data, size_t len)
{
    uint8_t *piece = malloc(len);
    struct ws_event event;
    size_t at = 0, used;
    int r;

    memcpy(piece, data, len);
    do {
        r = ws_parser_feed(&run->parser, piece + at, len - at, &used, &event);
        if (r == 0 || r == WS_EVENT) {
            FUZZ_ASSERT(used <= len - at);
            at += used;
        }
        if (r == WS_EVENT) {
            tell(run, &event);
        }
    } while (r == WS_EVENT);
    FUZZ_ASSERT(r != 0 || at == len);
    run->outcome = r;
    free(piece);
}

static void run_init(struct run *run, uint8_t choice)
{
    *run = (struct run){.told = TEXT_EMPTY};
    ws_parser_init(&run->parser, choice & 1 ? WS_PEER_SERVER : WS_PEER_CLIENT,
                   (uint32_t)(choice >> 1) * 8);
}

static void run_deinit(struct run *run)
{
    ws_parser_deinit(&run->parser);
    text_deinit(&run->told);
}

static void run_in_pieces(struct run *run, struct fuzz_input stream, struct fuzz_cuts cuts)
{
    while (stream.len > 0 && run->outcome == 0) {
        size_t piece = fuzz_cut(&cuts, stream.len);
        feed(run, stream.at, piece);
        stream.at += piece;
        stream.len -= piece;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input input = {data, len};
    uint8_t choice = fuzz_byte(&input);
    struct fuzz_cuts cuts = fuzz_cuts_take(&input);
    uint8_t failing = fuzz_byte(&input);
    struct run whole, cut, starved;

    run_init(&whole, choice);
    run_init(&cut, choice);
    run_init(&starved, choice);
    if (input.len > 0) {
        feed(&whole, input.at, input.len);
    }
    run_in_pieces(&cut, input, cuts);

    FUZZ_ASSERT(cut.outcome == whole.outcome);
    FUZZ_ASSERT(cut.told.len == whole.told.len);
    FUZZ_ASSERT(whole.told.len == 0 || memcmp(cut.told.data, whole.told.data, cut.told.len) == 0);
    FUZZ_ASSERT(whole.outcome != 0 ||
                ws_parser_is_midway(&cut.parser) == ws_parser_is_midway(&whole.parser));

    mem_fail_nth(failing);
    run_in_pieces(&starved, input, cuts);
    mem_fail_nth(0);
    FUZZ_ASSERT(starved.outcome == -ENOMEM || text_failed(&starved.told) ||
                starved.outcome == whole.outcome);

    run_deinit(&whole);
    run_deinit(&cut);
    run_deinit(&starved);
    return 0;
}
