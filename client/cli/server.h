/* Which broker a command speaks to, and as who.
 *
 * Receives   the options that get, watch and ping have in common
 * Hands on   the address, and where tokens come from
 * Owns       the tokens' source
 */
#ifndef PROGRESSD_CLIENT_CLI_SERVER_H
#define PROGRESSD_CLIENT_CLI_SERVER_H

#include "client/cli/options.h"
#include "client/cli/token_source.h"
#include "client/cli/wire.h"

#define SERVER_URL_DEFAULT "http://127.0.0.1:8080"
#define SERVER_PATIENCE_MS 10000 /* with a server that doesn't answer */

/* What the user said. */
struct server_options {
    const char *url;
    struct token_settings token;
};

#define SERVER_OPTIONS_EMPTY ((struct server_options){.token.ttl_s = TOKEN_TTL_DEFAULT_S})

#define SERVER_URL_HELP                                                               \
    "  --url URL                where the broker is: http[s]://HOST[:PORT][/PATH];\n" \
    "                           $PROGRESSD_URL, or " SERVER_URL_DEFAULT ".\n"         \
    "                           Proxies and certificates to trust: $http_proxy,\n"    \
    "                           $https_proxy, $no_proxy, $SSL_CERT_FILE\n"
#define SERVER_TOKEN_HELP                                                                    \
    "  --token TOKEN            the token to show; $PROGRESSD_TOKEN, the file that\n"        \
    "                           $PROGRESSD_TOKEN_FILE names, or one is made, whenever one\n" \
    "                           is needed, as `progressctl token` does. Covered in ps\n"     \
    "  --key, --state-dir, --ttl, --issuer, --audience\n"                                    \
    "                           for tokens that are made: see progressctl token --help\n"

/* Reads the address. EXIT_DONE, or EXIT_USAGE after a complaint. */
int server_address(const struct command *command, const struct server_options *options,
                   struct wire_address *ret_address) MUST_CHECK;

/* Opens the source of tokens. Likewise. */
int server_tokens(const struct command *command, const struct server_options *options,
                  struct token_source *ret_tokens) MUST_CHECK;

/* Whether the operand is a task id; if not, complains. */
bool server_task_is_valid(const struct command *command, const char *task_id);

/* Says why there is no answer: what http_client_get() or ws_client_open() returned. */
void server_complain(const struct command *command, const struct wire_address *address, int rc);

#endif
