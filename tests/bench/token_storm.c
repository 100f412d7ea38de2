/* How long one turn of the loop takes while thousands of tokens with public keys come at once.
 *
 *     build-release/tests/bench/token_storm [ALG]      RS256 unless told otherwise
 *
 * For 2,000 distinct good tokens, and then for 20,000 distinct bad ones, all presented in one turn:
 * how many turns it takes, the longest of them, and how long all of them take. Time is this
 * thread's own, so that a busy machine doesn't change it. Exits with 1 when a turn that checks
 * takes longer than 50 ms.
 */
#include <stdlib.h>
#include <time.h>

#include "broker/auth/auth.h"
#include "tests/support/signing_key.h"

#define TURN_MAX_MS 50.0
#define TOKEN_SIZE 1024

struct client {
    struct auth_check check;
    size_t len;
    char token[TOKEN_SIZE];
};

static unsigned answered, accepted;

static double now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static void on_checked(struct auth_check *check, const struct auth_verdict *verdict)
{
    answered++;
    accepted += verdict->rc == 0;
}

static enum jwt_key_algorithm algorithm_named(const char *name)
{
    for (int i = JWT_KEY_RS256; i < JWT_KEY_ALGORITHMS; i++) {
        if (strcmp(jwt_key_algorithm_name(i), name) == 0) {
            return i;
        }
    }
    fprintf(stderr, "token_storm: ALG is RS256, PS256, ES256, EdDSA …\n");
    exit(2);
}

/* `count` distinct tokens. Bad ones have the first one's signature. */
static void make_tokens(struct client *clients, size_t count, EVP_PKEY *pair,
                        enum jwt_key_algorithm algorithm, bool are_good)
{
    char header[64], claims[100], signature[TOKEN_SIZE] = "";

    snprintf(header, sizeof(header), "{\"alg\":\"%s\"}", jwt_key_algorithm_name(algorithm));
    for (size_t i = 0; i < count; i++) {
        char *token = clients[i].token;

        snprintf(claims, sizeof(claims), "{\"exp\":253402300000,\"taskId\":\"%06zu\"}", i);
        auth_check_init(&clients[i].check, on_checked);
        if (are_good || i == 0) {
            clients[i].len = signing_key_token(pair, algorithm, header, claims, token);
            strcpy(signature, strrchr(token, '.'));
        } else {
            size_t len = base64_encode(BASE64_URL, header, strlen(header), token);
            token[len++] = '.';
            len += base64_encode(BASE64_URL, claims, strlen(claims), token + len);
            strcpy(token + len, signature);
            clients[i].len = strlen(token);
        }
    }
}

/* Presents all of them; the longest turn. */
static double storm(struct loop *loop, struct auth *auth, struct client *clients, size_t count,
                    const char *what)
{
    const double began = now_ms();
    struct token *token = NULL;
    enum auth_failure why;
    double longest = 0;
    unsigned turns = 0;

    answered = accepted = 0;
    for (size_t i = 0; i < count; i++) {
        int rc = auth_verify(auth, (struct span){clients[i].token, clients[i].len}, 0,
                             &clients[i].check, &token, &why);
        if (rc != AUTH_LATER) {
            fprintf(stderr, "token_storm: a token was not put off: %d\n", rc);
            exit(1);
        }
    }
    const double presented = now_ms();
    while (answered < count) {
        const double turn_began = now_ms();

        uv_run(&loop->uv, UV_RUN_NOWAIT);
        const double took = now_ms() - turn_began;
        longest = took > longest ? took : longest;
        turns++;
    }
    printf("%-22s %6zu tokens  %6u accepted  %5u turns  longest %6.2f ms  presenting %7.1f ms  "
           "checking %8.1f ms\n",
           what, count, accepted, turns, longest, presented - began, now_ms() - presented);
    return longest;
}

int main(int argc, char **argv)
{
    const enum jwt_key_algorithm algorithm = algorithm_named(argc > 1 ? argv[1] : "RS256");
    const size_t good = 2000, bad = 20000;
    struct client *clients = calloc(bad + 1, sizeof(*clients));
    EVP_PKEY *pair = signing_key_new(algorithm);
    char pem[PEM_MAX];
    struct loop loop;

    signing_key_public_pem(pair, pem);
    struct jwt_key key = {NULL, algorithm, (uint8_t *)pem, strlen(pem)};
    const struct config config = {.jwt_keys = {&key, 1}};
    struct auth *auth = clients && loop_open(&loop, NULL) == 0 ? auth_new(&config, &loop) : NULL;
    if (!auth) {
        fprintf(stderr, "token_storm: out of memory\n");
        return 1;
    }
    make_tokens(clients, good, pair, algorithm, true);
    double longest = storm(&loop, auth, clients, good, "distinct good ones");
    const bool all_good = accepted == good;
    make_tokens(clients, bad + 1, pair, algorithm, false); /* the first one is good */
    const double bad_longest = storm(&loop, auth, clients + 1, bad, "distinct bad ones");
    const bool none_bad = accepted == 0;
    longest = bad_longest > longest ? bad_longest : longest;
    auth_free(auth);
    loop_close(&loop);
    loop_run(&loop);
    EVP_PKEY_free(pair);
    free(clients);
    return all_good && none_bad && longest <= TURN_MAX_MS ? 0 : 1;
}
