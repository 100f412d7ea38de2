/* How functions of progressd tell how they went.
 *
 *   0         done
 *   negative  broken: -errno or a libuv UV_E* (the same numbers on Linux); passed up unchanged
 *   positive  one of the function's own named outcomes; the caller handles it on the spot
 *
 * Out-parameters are called ret_x and are untouched on failure. Programming errors assert.
 */
#ifndef PROGRESSD_COMMON_RESULT_H
#define PROGRESSD_COMMON_RESULT_H

#include <assert.h>
#include <stddef.h>

/* The result must be looked at. */
#define MUST_CHECK __attribute__((warn_unused_result))

/* printf-style checking of the arguments; fmt and args count from 1. */
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* Runs func(&variable) when the variable goes out of scope. */
#define CLEANUP(func) __attribute__((cleanup(func)))

/* Hands a pointer over: yields its value and leaves NULL behind, for a CLEANUP variable. */
#define TAKE(pointer)                           \
    ({                                          \
        __typeof__(pointer) taken_ = (pointer); \
        (pointer) = NULL;                       \
        taken_;                                 \
    })

/* The object of `type` whose `member` is at `pointer`. */
#define CONTAINER_OF(pointer, type, member) \
    ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif
