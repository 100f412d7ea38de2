#include "broker/process/drop_log.h"

#include "common/log.h"

#define MODULE "recorder"

void drop_log_tick(struct drop_log *log, uint64_t now_ms)
{
    if (now_ms - log->began_ms < DROP_LOG_WINDOW_MS) {
        return;
    }
    if (log->more > 0) {
        log_event(LOG_WARN, MODULE, "more messages dropped", LOG_INT("count", log->more));
    }
    *log = (struct drop_log){.began_ms = now_ms};
}

void drop_log_add(struct drop_log *log, uint64_t now_ms, struct span channel, const char *why)
{
    drop_log_tick(log, now_ms);
    if (log->written == DROP_LOG_MAX) {
        log->more++;
        return;
    }
    log->written++;
    log_event(LOG_WARN, MODULE, "message dropped", LOG_SPAN("channel", channel.at, channel.len),
              LOG_TEXT("why", why));
}
