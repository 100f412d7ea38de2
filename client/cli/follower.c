#include "client/cli/follower.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "client/cli/backoff.h"
#include "client/cli/live_feed.h"
#include "client/cli/poll_feed.h"

struct follower {
    struct feed *feed;
    int64_t give_up_ms;
    unsigned failures; /* of WebSocket, in a row */
    unsigned refusals; /* of tokens, in a row */
    bool polls;        /* WebSocket has failed too often */
    char told[512];    /* the trouble that the user knows of */
};

static bool is_late(const struct follower *follower)
{
    return wire_clock() - follower->feed->contact >= follower->give_up_ms;
}

/* Says what the trouble is, unless it is still the same. */
static void tell(struct follower *follower)
{
    if (strcmp(follower->told, follower->feed->why) != 0) {
        snprintf(follower->told, sizeof(follower->told), "%s", follower->feed->why);
        watch_display_note(follower->feed->display, "%s; trying again", follower->told);
    }
}

static int64_t next_wait_ms(const struct follower *follower)
{
    uint32_t random;

    /* Without randomness it waits for the longest time. */
    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) {
        random = UINT32_MAX;
    }
    return backoff_ms(follower->failures > 0 ? follower->failures - 1 : 0, random);
}

/* A refused token: true when another may be tried. */
static bool may_try_another_token(struct follower *follower)
{
    return token_source_renews(follower->feed->tokens) && ++follower->refusals < 2;
}

/* ── WebSocket ───────────────────────────────────────────────────────────────────────────────── */

/* One connection. 0: it may be tried again; an outcome that is the end. */
static int follow_live(struct follower *follower)
{
    int outcome = live_feed_run(follower->feed);

    switch (outcome) {
    case FEED_LOST:
        follower->failures = 0;
        follower->refusals = 0;
        follower->polls = false;
        follower->told[0] = '\0';
        break;
    case FEED_FAILED:
        follower->failures++;
        break;
    case FEED_UNAUTHORIZED:
        /* If it was subscribed, that token was good for its time. */
        if (follower->feed->transport == FEED_WEBSOCKET) {
            follower->refusals = 0;
        }
        if (!may_try_another_token(follower)) {
            return outcome;
        }
        break;
    default:
        return outcome;
    }
    if (!follower->polls) {
        follower->feed->transport = FEED_NO_TRANSPORT;
        tell(follower);
    }
    return 0;
}

/* ── Polling ─────────────────────────────────────────────────────────────────────────────────── */

/* Polls until it is time to try WebSocket again (0), or something ends it. */
static int follow_polls(struct follower *follower)
{
    const int64_t until = wire_deadline(FOLLOWER_WEBSOCKET_AGAIN_MS);
    unsigned failures = 0;

    follower->polls = true;
    while (wire_clock() < until) {
        int64_t wait_ms;
        int outcome = poll_feed_ask(follower->feed, &wait_ms);

        if (outcome == FEED_FAILED) {
            if (is_late(follower)) {
                return outcome;
            }
            tell(follower);
            wait_ms = backoff_limit_ms(failures++);
        } else if (outcome == FEED_UNAUTHORIZED && may_try_another_token(follower)) {
            wait_ms = BACKOFF_FIRST_MS;
        } else if (outcome) {
            return outcome;
        } else {
            failures = 0;
            follower->refusals = 0;
        }
        const int64_t next = wire_deadline(wait_ms);
        feed_sleep(follower->feed, next < until ? next : until);
    }
    return 0;
}

/* ── Both ────────────────────────────────────────────────────────────────────────────────────── */

int follower_run(struct feed *feed, int64_t give_up_ms)
{
    struct follower follower = {.feed = feed, .give_up_ms = give_up_ms};
    int outcome = 0;

    feed->contact = wire_clock();
    while (outcome == 0) {
        outcome = follow_live(&follower);
        if (outcome) {
            break;
        }
        if (follower.polls || follower.failures > FOLLOWER_ATTEMPTS || is_late(&follower)) {
            outcome = follow_polls(&follower);
        } else {
            const int64_t late = feed->contact + give_up_ms;
            const int64_t next = wire_deadline(next_wait_ms(&follower));

            feed_sleep(feed, next < late ? next : late);
        }
    }
    return outcome;
}
