/* Which of the percentages that a program prints are its progress.
 *
 * Receives   each percentage with where it stood in a program's output
 * Hands on   whether it is progress
 * Owns       nothing
 *
 * A program may print "I am 100% sure." beside its progress. So one pattern of one stream is
 * settled on. The pattern is the letters that stand before the number, from the line's beginning
 * or the percent sign before it: whisper's progress is always behind "… progress =", a bar's
 * number behind nothing but punctuation. Patterns have a rank, and a higher one takes the place of
 * a lower one when it comes later:
 *
 *   1. words before the number, in standard output
 *   2. no words, in standard output
 *   3. words, in standard error, where programs print progress, and hardly results
 *   4. no words, in standard error or in a line that is rewritten (after \r or \b)
 *   5. words that are known to be progress
 *
 * Ranks 4 and 5 count from the first number on; the others once the pattern has come twice, with
 * two numbers. If only one stream is looked into, rank 2 counts from the first number on too.
 */
#ifndef PROGRESSD_CLIENT_CLI_PERCENT_CHOICE_H
#define PROGRESSD_CLIENT_CLI_PERCENT_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum percent_rank {
    PERCENT_NO_RANK,
    PERCENT_STDOUT_WORDS,
    PERCENT_STDOUT_BARE,
    PERCENT_STDERR_WORDS,
    PERCENT_BAR,
    PERCENT_KNOWN,
};

/* Letters, as a hash: of none, and with one more. */
#define PERCENT_NO_WORDS UINT32_C(2166136261)

static inline uint32_t percent_words_add(uint32_t words, char letter)
{
    return (words ^ (uint8_t)letter) * UINT32_C(16777619);
}

/* A percentage that was printed. */
struct percent_sight {
    uint32_t words; /* the letters before it */
    bool is_stderr;
    bool is_rewritten; /* the line began with \r or \b */
    double percentage;
};

/* A pattern that came once, or with one number only. */
struct percent_candidate {
    uint32_t words;
    bool is_stderr;
    double percentage;
};

#define PERCENT_CANDIDATES 16

struct percent_choice {
    bool one_stream;
    enum percent_rank rank; /* of the pattern that is settled on */
    uint32_t words;
    bool is_stderr;
    struct percent_candidate candidates[PERCENT_CANDIDATES]; /* the newest, in a ring */
    size_t candidate_count;                                  /* as many as ever were */
};

/* `one_stream`: the other isn't looked into. */
void percent_choice_init(struct percent_choice *choice, bool one_stream);

/* Whether that percentage is progress. */
bool percent_choice_take(struct percent_choice *choice, const struct percent_sight *sight);

#endif
