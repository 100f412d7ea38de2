/* Makes a test program able to be the child that it starts.
 *
 * The supervisor's side starts /proc/self/exe, which in a test is the test itself, as
 * `progressd <role> <slot>`. So before main() this looks whether it was started like that, and
 * plays the part that the variable PLAYS names:
 *
 *   good   says "ready", and exits with 0 on a line or at the pipe's end
 *   deaf   says "ready", and then does nothing any more
 *   mute   does nothing at all
 *   dies   exits with 3 at once
 */
#ifndef PROGRESSD_TESTS_PLAYING_CHILD_H
#define PROGRESSD_TESTS_PLAYING_CHILD_H

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/process/child.h"

__attribute__((constructor)) static void play_child(int argc, char **argv)
{
    char byte;

    if (argc != 3 || strcmp(argv[0], "progressd") != 0) {
        return;
    }
    const char *part = getenv("PLAYS");
    alarm(60); /* whatever the test does, nothing stays behind */
    if (strcmp(part, "dies") == 0) {
        _exit(3);
    }
    if (strcmp(part, "mute") != 0 && write(CHILD_CONTROL_FD, "ready\n", 6) != 6) {
        _exit(4);
    }
    if (strcmp(part, "good") == 0) {
        _exit(read(CHILD_CONTROL_FD, &byte, 1) < 0);
    }
    for (;;) {
        pause();
    }
}

#endif
