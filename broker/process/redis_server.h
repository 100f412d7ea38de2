/* A redis-server process and the directory that it keeps its data in.
 *
 * Receives   the state directory; the arguments of a child that is to become redis-server
 * Hands on   the running process; its exit, by the callback
 * Owns       nothing; the lock's descriptor and the process handle are the caller's
 *
 * The server must end with its parent, however that ends, and only a process itself can ask the
 * kernel for that. So the parent starts `progressd redis`, which asks, and becomes redis-server.
 */
#ifndef PROGRESSD_BROKER_PROCESS_REDIS_SERVER_H
#define PROGRESSD_BROKER_PROCESS_REDIS_SERVER_H

#include <sys/un.h>
#include <uv.h>

#include "common/result.h"
#include "common/state_dir.h"

/* In the state directory, beside STATE_DIR_REDIS_SOCKET. No name is longer than the socket's. */
#define REDIS_SERVER_LOG "redis.log"
#define REDIS_SERVER_LOCK "lock"

/* What the path of one of them takes, since a socket's may not be longer. */
#define REDIS_SERVER_PATH_SIZE sizeof(((struct sockaddr_un *)NULL)->sun_path)

enum redis_server_outcome { REDIS_SERVER_INVALID = 1 };

/* Makes the directory and takes it for this process' server alone, until *ret_lock is closed. 0; or
 * REDIS_SERVER_INVALID with the reason in `why`: its path is too long for a socket in it, it can't
 * be made, or another progressd has it. */
#define REDIS_SERVER_WHY_SIZE 512
int redis_server_claim(const char *state_dir, int *ret_lock,
                       char why[REDIS_SERVER_WHY_SIZE]) MUST_CHECK;

/* Starts a server on a directory that was claimed. 0 or a UV_E*; the handle must be closed in
 * either case. */
int redis_server_spawn(uv_loop_t *loop, uv_process_t *process, const char *state_dir,
                       uv_exit_cb on_exit) MUST_CHECK;

/* What the child does: becomes the program of `argv`, which ends with the process `parent`. Returns
 * the exit status of its failure. */
#define REDIS_SERVER_ROLE "redis"
#define REDIS_SERVER_EXIT_NOT_FOUND 127 /* as shells have it */
#define REDIS_SERVER_EXIT_FAILED 126
int redis_server_exec(int parent, char *const *argv);

#endif
