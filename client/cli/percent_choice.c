#include "client/cli/percent_choice.h"

#include "common/result.h"

/* The letters of what programs print before their progress, and nobody else does. */
static const char *const known_words[] = {
    "whisperprintprogresscallbackprogress", /* whisper.cpp, -pp */
};

void percent_choice_init(struct percent_choice *choice, bool one_stream)
{
    *choice = (struct percent_choice){.one_stream = one_stream};
}

static bool is_known(uint32_t words)
{
    for (size_t i = 0; i < ARRAY_LEN(known_words); i++) {
        uint32_t known = PERCENT_NO_WORDS;

        for (const char *letter = known_words[i]; *letter; letter++) {
            known = percent_words_add(known, *letter);
        }
        if (known == words) {
            return true;
        }
    }
    return false;
}

static enum percent_rank rank_of(const struct percent_sight *sight)
{
    if (is_known(sight->words)) {
        return PERCENT_KNOWN;
    }
    if (sight->words == PERCENT_NO_WORDS) {
        return sight->is_stderr || sight->is_rewritten ? PERCENT_BAR : PERCENT_STDOUT_BARE;
    }
    return sight->is_stderr ? PERCENT_STDERR_WORDS : PERCENT_STDOUT_WORDS;
}

static bool counts_at_once(const struct percent_choice *choice, enum percent_rank rank)
{
    return rank >= PERCENT_BAR || (rank == PERCENT_STDOUT_BARE && choice->one_stream);
}

/* Whether the pattern came before with another number. If not, it is remembered. */
static bool has_come_before(struct percent_choice *choice, const struct percent_sight *sight)
{
    for (size_t i = 0; i < PERCENT_CANDIDATES && i < choice->candidate_count; i++) {
        const struct percent_candidate *candidate = &choice->candidates[i];

        if (candidate->words == sight->words && candidate->is_stderr == sight->is_stderr) {
            return candidate->percentage < sight->percentage ||
                   candidate->percentage > sight->percentage;
        }
    }
    choice->candidates[choice->candidate_count++ % PERCENT_CANDIDATES] =
        (struct percent_candidate){sight->words, sight->is_stderr, sight->percentage};
    return false;
}

bool percent_choice_take(struct percent_choice *choice, const struct percent_sight *sight)
{
    if (choice->rank != PERCENT_NO_RANK && choice->words == sight->words &&
        choice->is_stderr == sight->is_stderr) {
        return true;
    }
    const enum percent_rank rank = rank_of(sight);
    if (rank <= choice->rank ||
        (!counts_at_once(choice, rank) && !has_come_before(choice, sight))) {
        return false;
    }
    choice->rank = rank;
    choice->words = sight->words;
    choice->is_stderr = sight->is_stderr;
    return true;
}
