/* What messages.json says of payloads, as progress.lua holds jobs to it.
 *
 * Receives   a payload that is checked JSON
 * Hands on   whether it has the members of its type
 * Owns       nothing
 */
#ifndef PROGRESSD_PROTO_PAYLOAD_RULES_H
#define PROGRESSD_PROTO_PAYLOAD_RULES_H

#include "proto/json.h"
#include "proto/message_tables.h" /* generated: enum task_message_type */

/* Whether the payload (a checked object) has each member that a message of the type must have, and
 * each that messages.json knows is what it says. Of a member that comes twice the last one counts,
 * as in JSON.parse. */
bool payload_is_valid(enum task_message_type type, struct json_value payload);

/* Whether a text is a date and time in ISO 8601's extended form, as browsers read it: date, T,
 * hours and minutes; seconds, their fraction and the zone may be missing. */
bool timestamp_is_valid(struct span text);

#endif
