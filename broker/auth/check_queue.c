#include "broker/auth/check_queue.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "common/mem.h"

void check_queue_init(struct check_queue *queue, size_t max_bytes)
{
    map_init(&queue->by_digest);
    list_init(&queue->tokens);
    queue->bytes = 0;
    queue->max_bytes = max_bytes;
}

void check_queue_deinit(struct check_queue *queue)
{
    assert(check_queue_is_empty(queue));
    map_deinit(&queue->by_digest);
}

static struct queued_token *queued_token_new(struct check_queue *queue,
                                             const uint8_t digest[TOKEN_DIGEST_SIZE])
{
    struct queued_token *token = mem_alloc(sizeof(*token));

    if (!token) {
        return NULL;
    }
    memcpy(token->digest, digest, sizeof(token->digest));
    if (map_add(&queue->by_digest, token->digest, sizeof(token->digest), token) < 0) {
        mem_free(token);
        return NULL;
    }
    list_init(&token->link);
    list_init(&token->checks);
    list_append(&queue->tokens, &token->link);
    return token;
}

int check_queue_add(struct check_queue *queue, const uint8_t digest[TOKEN_DIGEST_SIZE],
                    struct auth_check *check)
{
    if (queue->bytes + check->text.len > queue->max_bytes) {
        return CHECK_QUEUE_FULL;
    }
    struct queued_token *token = map_get(&queue->by_digest, digest, TOKEN_DIGEST_SIZE);
    if (!token) {
        token = queued_token_new(queue, digest);
    }
    if (!token) {
        return -ENOMEM;
    }
    check->token = token;
    list_init(&check->link);
    list_append(&token->checks, &check->link);
    queue->bytes += check->text.len;
    return 0;
}

static void check_queue_unlink(struct check_queue *queue, struct queued_token *token)
{
    list_remove(&token->link);
    map_remove(&queue->by_digest, token->digest, sizeof(token->digest));
}

struct queued_token *check_queue_take(struct check_queue *queue)
{
    struct list *link = list_first(&queue->tokens);

    assert(link);
    struct queued_token *token = CONTAINER_OF(link, struct queued_token, link);
    check_queue_unlink(queue, token);
    return token;
}

void check_queue_remove(struct check_queue *queue, struct auth_check *check)
{
    struct queued_token *token = check->token;

    list_remove(&check->link);
    check->token = NULL;
    queue->bytes -= check->text.len;
    if (list_is_linked(&token->link) && list_is_empty(&token->checks)) {
        check_queue_unlink(queue, token);
        mem_free(token);
    }
}
