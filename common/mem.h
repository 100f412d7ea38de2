/* Memory from the heap, which may be out.
 *
 * Receives   sizes
 * Hands on   malloc(3) memory, or NULL
 * Owns       the counter that makes a chosen allocation fail, for tests
 *
 * Nothing here aborts: the caller returns -ENOMEM with nothing half changed.
 */
#ifndef PROGRESSD_COMMON_MEM_H
#define PROGRESSD_COMMON_MEM_H

#include "common/result.h"

/* `size` bytes (> 0), uninitialised; NULL when out of memory. Free with mem_free(). */
void *mem_alloc(size_t size) MUST_CHECK;

/* The same, for `count` * `size` zeroed bytes; NULL also when the product overflows. */
void *mem_zalloc(size_t count, size_t size) MUST_CHECK;

/* Resizes; NULL leaves `old` as it was. `old` may be NULL. */
void *mem_realloc(void *old, size_t size) MUST_CHECK;

/* Copies of `len` bytes with a NUL behind; NULL when out of memory. */
char *mem_strndup(const char *text, size_t len) MUST_CHECK;

/* Accepts NULL. */
void mem_free(void *memory);

/* For CLEANUP on any pointer variable. */
void mem_free_at(void *pointer_to_pointer);

/* Tests: the n-th allocation from now fails, once (1 = the next). 0 turns it off. */
void mem_fail_nth(unsigned n);

#endif
