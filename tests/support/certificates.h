/* Files of certificates that sign themselves, in a folder of the test's own. For one test program.
 */
#ifndef PROGRESSD_TESTS_SUPPORT_CERTIFICATES_H
#define PROGRESSD_TESTS_SUPPORT_CERTIFICATES_H

#include <criterion/criterion.h>
#include <limits.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[] = "/tmp/progressd-test-XXXXXX";
static char paths[16][PATH_MAX];
static int path_count;

static inline const char *path_of(const char *name)
{
    char *path = paths[path_count++];

    snprintf(path, PATH_MAX, "%s/%s", folder, name);
    return path;
}

static inline void certificates_set_up(void)
{
    cr_assert_not_null(mkdtemp(folder));
}

static inline void certificates_tear_down(void)
{
    for (int i = 0; i < path_count; i++) {
        unlink(paths[i]);
    }
    rmdir(folder);
}

static inline void sign(X509 *certificate, EVP_PKEY *key, const char *alt_names, long valid_s)
{
    X509V3_CTX context;

    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -86400);
    X509_gmtime_adj(X509_getm_notAfter(certificate), valid_s);
    X509_set_pubkey(certificate, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *names = X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, alt_names);
    cr_assert_not_null(names);
    X509_add_ext(certificate, names, -1);
    X509_EXTENSION_free(names);
    cr_assert_gt(X509_sign(certificate, key, EVP_sha256()), 0);
}

/* A certificate that signs itself, and its key, in one file. */
static inline const char *make_certificate(const char *name, const char *alt_names, long valid_s)
{
    const char *path = path_of(name);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = X509_new();
    FILE *file = fopen(path, "w");

    cr_assert(key && certificate && file);
    sign(certificate, key, alt_names, valid_s);
    cr_assert_eq(PEM_write_X509(file, certificate), 1);
    cr_assert_eq(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return path;
}

#endif
