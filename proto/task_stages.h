/* The stages that a task has entered.
 *
 * Receives   the messages of a task, in their order
 * Hands on   the stages as a JSON array
 * Owns       nothing
 */
#ifndef PROGRESSD_PROTO_TASK_STAGES_H
#define PROGRESSD_PROTO_TASK_STAGES_H

#include "proto/task_message.h"

/* Whether a text is such an array: JSON in UTF-8, of at most STAGES_MAX entries that each have a
 * stage and a timestamp. */
bool stages_are_valid(struct span stages);

/* The stages a task has entered, as the hash's field `stages` has them: a JSON array of
 * {"stage":…,"timestamp":…}, the last STAGES_MAX, oldest first. Follows a message as progress.lua
 * does: a stage_change enters toStage, a progress_update enters its stage if that isn't the last
 * one, a reset leaves none. 0, also when nothing had to change; or -ENOMEM with `stages` unchanged.
 */
int stages_follow(struct text *stages, const struct task_message *message) MUST_CHECK;

#endif
