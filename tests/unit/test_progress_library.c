#include "proto/progress_library.h"

#include <criterion/criterion.h>

Test(progress_library, the_librarys_head_tells_its_version_and_settings)
{
    CLEANUP(text_deinit) struct text text = TEXT_EMPTY;
    struct library_head head;

    progress_library(&text, 60, 16384);
    cr_assert_not(text_failed(&text));
    cr_assert_eq(progress_library_head((struct span){text.data, text.len}, &head), 0);
    cr_assert_eq(head.version, progress_library_version);
    cr_assert_eq(head.state_ttl_s, 60);
    cr_assert_eq(head.max_payload, 16384);
    cr_assert_not_null(strstr(text.data, "\nlocal STATE_TTL, MAX_PAYLOAD = 60, 16384\n"));
    cr_assert_not_null(strstr(text.data, "redis.register_function(\"progress_publish\""));
}

Test(progress_library, a_newer_library_is_known_as_such)
{
    struct library_head head;

    cr_assert_eq(progress_library_head(SPAN_OF("#!lua name=progress\n"
                                               "-- progressd library version=4294967295 "
                                               "state_ttl=1 max_payload=2 more=3\nreturn"),
                                       &head),
                 0);
    cr_assert_eq(head.version, UINT32_MAX);
}

Test(progress_library, somebody_elses_library_is_known_as_such)
{
    const char *codes[] = {
        "",
        "#!lua name=progress\n",
        "#!lua name=progress\nredis.register_function('progress_publish', f)",
        "#!lua name=progress\n-- progressd library version=x state_ttl=1 max_payload=2\n",
        "#!lua name=progress\n-- progressd library version=1 state_ttl=1\n",
        "#!lua name=progress\n-- progressd library version=1 state_ttl=1 max_payload=2",
        "#!lua name=progress\n-- progressd library version=4294967296 state_ttl=1 max_payload=2\n",
        "#!lua name=other\n-- progressd library version=1 state_ttl=1 max_payload=2\n",
    };
    struct library_head head;

    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        cr_assert_eq(progress_library_head(SPAN_OF(codes[i]), &head), PROGRESS_LIBRARY_INVALID,
                     "%s", codes[i]);
    }
}
