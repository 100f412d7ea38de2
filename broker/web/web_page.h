/* The web page that the broker serves besides: answers requests by the files of `web-root`.
 *
 * Receives   requests whose path is none of the protocol's
 * Hands on   the answer, to http_answer.c
 * Owns       nothing
 *
 * Each answer has a strong ETag. Browsers ask for a file again each time, and get 304 while it is
 * the same; but for those that a build tool named by their content, which never change:
 * NAME-HASH.EXT in a folder `assets`, with a HASH of 8 letters, digits, - and _. The page may load
 * scripts, styles and pictures from here alone, and connect to any broker.
 */
#ifndef PROGRESSD_BROKER_WEB_WEB_PAGE_H
#define PROGRESSD_BROKER_WEB_WEB_PAGE_H

#include "broker/net/http_connection.h"
#include "broker/session/front.h"

/* Answers the request; front->web_cache must be there. */
void web_page_answer(const struct front *front, struct http_connection *http,
                     const struct http_request *request);

#endif
