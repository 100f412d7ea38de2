/* A request is understood the same however it is cut, and the handshake's check takes any.
 *
 * Input: the cuts, the stream.
 */
#include <string.h>

#include "fuzz.h"
#include "proto/http_request.h"
#include "proto/ws_handshake.h"

struct run {
    struct http_request *request;
    int outcome;
    size_t used;
};

/* Feeds one piece from memory of its own. */
static void feed(struct run *run, const uint8_t *data, size_t len)
{
    char *piece = malloc(len);
    size_t used;

    memcpy(piece, data, len);
    run->outcome = http_request_feed(run->request, piece, len, &used);
    FUZZ_ASSERT(used <= len);
    FUZZ_ASSERT(run->outcome != 0 || used == len);
    run->used += used;
    free(piece);
}

static bool is_same(struct span a, struct span b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.at, b.at, a.len) == 0);
}

static void check_same(const struct http_request *a, const struct http_request *b)
{
    FUZZ_ASSERT(http_request_method(a) == http_request_method(b));
    FUZZ_ASSERT(is_same(http_request_path(a), http_request_path(b)));
    FUZZ_ASSERT(is_same(http_request_query(a), http_request_query(b)));
    FUZZ_ASSERT(http_request_keeps_alive(a) == http_request_keeps_alive(b));
    FUZZ_ASSERT(http_request_upgrades(a) == http_request_upgrades(b));
    for (enum http_header header = 0; header < HTTP_HEADERS; header++) {
        FUZZ_ASSERT(is_same(http_request_header(a, header), http_request_header(b, header)));
    }
}

/* What is done with a complete request. */
static void use(const struct http_request *request)
{
    struct span path = http_request_path(request);
    char buffer[256];
    const char *why;
    size_t len;

    FUZZ_ASSERT(path.len > 0);
    if (http_percent_decode(path, buffer, sizeof(buffer), &len) == 0) {
        FUZZ_ASSERT(len <= path.len && len <= sizeof(buffer));
    }
    if (ws_handshake_check(request, &why) == 0) {
        struct text answer = TEXT_EMPTY;
        FUZZ_ASSERT(ws_handshake_respond(&answer, request) == 0);
        text_deinit(&answer);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct fuzz_input input = {data, len};
    struct fuzz_cuts cuts = fuzz_cuts_take(&input);
    struct run whole = {.request = http_request_new()}, cut = {.request = http_request_new()};

    if (input.len > 0) {
        feed(&whole, input.at, input.len);
    }
    while (cut.used < input.len && cut.outcome == 0) {
        feed(&cut, input.at + cut.used, fuzz_cut(&cuts, input.len - cut.used));
    }
    FUZZ_ASSERT(whole.outcome == cut.outcome);
    if (whole.outcome == HTTP_REQUEST_COMPLETE) {
        FUZZ_ASSERT(whole.used == cut.used);
        check_same(whole.request, cut.request);
        use(whole.request);
    } else if (whole.outcome == HTTP_REQUEST_BAD) {
        FUZZ_ASSERT(http_request_error(whole.request)[0] != '\0');
    }
    http_request_free(whole.request);
    http_request_free(cut.request);
    return 0;
}
