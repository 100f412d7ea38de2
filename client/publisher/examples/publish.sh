#!/bin/sh
# A job in shell that tells how far it is, with redis-cli alone.
#
# usage: publish.sh REDIS_SOCKET TASK
set -eu

call() {
    function=$1
    shift
    redis-cli -e -s "$socket" FCALL "$function" 1 "progress:$task" "$@" >/dev/null
}

socket=$1 task=$2
began=$(date +%s)
call progress_reset
for step in 0 1 2 3 4 5 6 7 8 9; do
    sleep 0.2 # the work
    call progress_alive 20 # lost, if silent for 20 seconds
    call progress_publish progress_update "{\"percentage\":$((step * 10)),\"stage\":\"working\"}"
done
call progress_publish complete \
    "{\"resultUrl\":\"/results/$task\",\"duration\":$(($(date +%s) - began))}"
