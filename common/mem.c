#include "common/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static unsigned allocations_until_failure; /* 0: none fails */

static bool fails_now(void)
{
    return allocations_until_failure > 0 && --allocations_until_failure == 0;
}

void *mem_alloc(size_t size)
{
    assert(size > 0);
    return fails_now() ? NULL : malloc(size);
}

void *mem_zalloc(size_t count, size_t size)
{
    assert(count > 0 && size > 0);
    return fails_now() ? NULL : calloc(count, size);
}

void *mem_realloc(void *old, size_t size)
{
    assert(size > 0);
    return fails_now() ? NULL : realloc(old, size);
}

char *mem_strndup(const char *text, size_t len)
{
    char *copy = mem_alloc(len + 1);
    if (copy) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

void mem_free(void *memory)
{
    free(memory);
}

void mem_free_at(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

void mem_fail_nth(unsigned n)
{
    allocations_until_failure = n;
}
