/* vault_test.c - key files made once, read again, renewed when due, and not overwritten blindly. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "base/buf.h"
#include "crypto/certificate.h"
#include "identity/vault.h"
#include "os/os.h"
#include "support/folder.h"

#define DAY INT64_C(86400)
#define VALIDITY_S (CERTIFICATE_SERVER_DAYS * DAY)

static const int64_t now = INT64_C(1795305600);
static const struct str names[] = {STR_INIT("localhost"), STR_INIT("127.0.0.1")};

static struct vault open_vault(void **state, size_t n_names, int64_t at) {
    struct folder *f = *state;
    struct vault v;
    struct problem why = {{0}, {0}};
    enum status st = vault_open(f->path, names, n_names, VALIDITY_S, at, &v, &why);
    if (st != ST_OK)
        print_error("%s: %s\n", why.target, why.message);
    assert_int_equal(st, ST_OK);
    return v;
}

static void read_into(struct buf *out, const char *path) {
    buf_init(out, 1 << 16);
    assert_int_equal(os_read_file(path, out, 0, NULL), ST_OK);
}

static void file_path(void **state, const char *name, char out[128]) {
    struct folder *f = *state;
    snprintf(out, 128, "%s/%s", f->path, name);
}

static void the_first_start_makes_what_later_ones_read(void **state) {
    struct vault first = open_vault(state, 2, now), again = open_vault(state, 2, now + DAY);
    assert_true(first.made_ca && first.made_server);
    assert_false(again.made_ca || again.made_server);
    assert_memory_equal(&first.seal, &again.seal, sizeof first.seal);
    assert_true(str_eq(rsa_key_id(first.tokens.key), rsa_key_id(again.tokens.key)));
    assert_int_equal(first.server_ends_s, now + CERTIFICATE_SERVER_DAYS * DAY);
    assert_int_equal(first.server_ends_s, again.server_ends_s);
    struct buf ca, cert, key;
    read_into(&ca, first.ca_cert_file);
    read_into(&cert, first.server_cert_file);
    read_into(&key, first.server_key_file);
    assert_int_equal(
        certificate_judge(buf_view(&ca), buf_view(&cert), buf_view(&key), names, 2, now),
        CERTIFICATE_GOOD);
    buf_destroy(&ca);
    buf_destroy(&cert);
    buf_destroy(&key);
    vault_close(&first);
    vault_close(&again);
    vault_close(&again); /* a zeroed one is fine */
}

static void only_its_user_may_read_the_keys(void **state) {
    mode_t before = umask(0);
    struct vault v = open_vault(state, 1, now);
    static const char *const files[] = {"seal.key", "token.pem", "ca.key", "server.key"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[128];
        struct stat st;
        file_path(state, files[i], path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    vault_close(&v);
    umask(before);
}

static void the_certificate_is_renewed_when_due_by_the_same_authority(void **state) {
    struct vault v = open_vault(state, 1, now);
    const int64_t due = now + (CERTIFICATE_SERVER_DAYS - CERTIFICATE_RENEW_DAYS) * DAY + 1;
    struct buf ca, later;
    read_into(&ca, v.ca_cert_file);
    bool renewed = true;
    assert_int_equal(vault_renew(&v, names, 1, due - 1, &renewed, NULL), ST_OK);
    assert_false(renewed);
    assert_int_equal(vault_renew(&v, names, 1, due, &renewed, NULL), ST_OK);
    assert_true(renewed);
    assert_int_equal(v.server_ends_s, due + CERTIFICATE_SERVER_DAYS * DAY);
    assert_int_equal(vault_renew(&v, names, 1, due, &renewed, NULL), ST_OK);
    assert_false(renewed);
    assert_int_equal(vault_renew(&v, names, 2, due, &renewed, NULL), ST_OK); /* one name more */
    assert_true(renewed);
    assert_int_equal(vault_renew(&v, names, 1, due, &renewed, NULL), ST_OK); /* one name fewer */
    assert_false(renewed);
    read_into(&later, v.ca_cert_file);
    assert_true(str_eq(buf_view(&ca), buf_view(&later)));
    buf_destroy(&ca);
    buf_destroy(&later);
    vault_close(&v);
}

static void half_a_pair_of_the_server_is_made_anew(void **state) {
    static const char *const files[] = {"server.pem", "server.key"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct vault v = open_vault(state, 1, now);
        vault_close(&v);
        char path[128];
        file_path(state, files[i], path);
        assert_int_equal(i == 0 ? unlink(path) : truncate(path, 10), 0);
        v = open_vault(state, 1, now);
        assert_true(v.made_server);
        assert_false(v.made_ca);
        vault_close(&v);
    }
}

/* Whatever else was damaged is not ours to throw away: secrets and the clients' trust hang on it. */
static void damage_is_named_and_left_alone(void **state) {
    static const char *const files[] = {"seal.key", "token.pem", "ca.pem", "ca.key",
                                        "token-keys.json"};
    struct vault v = open_vault(state, 1, now);
    vault_close(&v);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[128];
        struct buf good, now_there;
        file_path(state, files[i], path);
        read_into(&good, path);
        assert_int_equal(os_replace_file(path, STR("damaged"), NULL), ST_OK);
        struct folder *f = *state;
        struct problem why = {{0}, {0}};
        assert_int_equal(vault_open(f->path, names, 1, VALIDITY_S, now, &v, &why), ST_BAD_REQUEST);
        assert_non_null(strstr(why.target, i == 3 ? "ca.pem" : files[i]));
        assert_null(v.tokens.key);
        read_into(&now_there, path);
        assert_true(str_eq(buf_view(&now_there), STR("damaged")));
        assert_int_equal(os_replace_file(path, buf_view(&good), NULL), ST_OK);
        buf_destroy(&good);
        buf_destroy(&now_there);
    }
    v = open_vault(state, 1, now);
    assert_false(v.made_ca || v.made_server);
    vault_close(&v);
}

static void a_short_certificate_is_renewed_after_two_thirds(void **state) {
    struct folder *f = *state;
    struct vault v;
    bool renewed;
    assert_int_equal(vault_open(f->path, names, 2, 300, now, &v, NULL), ST_OK);
    assert_int_equal(v.server_ends_s, now + 300);
    assert_int_equal(v.server_renew_s, now + 200);
    assert_int_equal(vault_renew(&v, names, 2, now + 200, &renewed, NULL), ST_OK);
    assert_false(renewed);
    assert_int_equal(vault_renew(&v, names, 2, now + 201, &renewed, NULL), ST_OK);
    assert_true(renewed);
    assert_int_equal(v.server_ends_s, now + 501);
    vault_close(&v);
}

static bool has_old(const struct vault *v, struct str id) {
    for (size_t i = 0; i < v->tokens.n_old; i++) {
        if (str_eq(rsa_key_id(v->tokens.old[i].key), id))
            return true;
    }
    return false;
}

static void a_key_that_signed_stays_until_its_tokens_have_ended(void **state) {
    struct vault v = open_vault(state, 1, now), again;
    struct vault_tokens next;
    struct rsa_key *first = rsa_key_ref(v.tokens.key);
    assert_int_equal(v.tokens.made_s, now);
    assert_int_equal(v.tokens.n_old, 0);
    assert_int_equal(vault_rotate_tokens(&v, 4000, now + 10, &next, NULL), ST_OK);
    vault_adopt_tokens(&v, &next);
    assert_false(str_eq(rsa_key_id(v.tokens.key), rsa_key_id(first)));
    assert_true(has_old(&v, rsa_key_id(first)));
    assert_int_equal(v.tokens.made_s, now + 10);

    again = open_vault(state, 1, now + 4009); /* a restart forgets neither */
    assert_true(str_eq(rsa_key_id(again.tokens.key), rsa_key_id(v.tokens.key)));
    assert_true(has_old(&again, rsa_key_id(first)));
    assert_int_equal(again.tokens.made_s, now + 10);
    assert_false(vault_forget_tokens(&again, now + 4009));
    assert_true(vault_forget_tokens(&again, now + 4010));
    assert_int_equal(again.tokens.n_old, 0);
    vault_close(&again);
    again = open_vault(state, 1, now + 4010);
    assert_int_equal(again.tokens.n_old, 0);
    vault_close(&again);
    rsa_key_unref(first);
    vault_close(&v);
}

static void keys_do_not_pile_up(void **state) {
    struct vault v = open_vault(state, 1, now);
    struct vault_tokens next;
    struct problem why = {{0}, {0}};
    /* Made by hand: eight rotations would take a second. */
    for (size_t i = 0; i < VAULT_OLD_KEYS_MAX; i++)
        v.tokens.old[v.tokens.n_old++] =
            (struct vault_old_key){rsa_key_ref(v.tokens.key), now + 100};
    assert_int_equal(vault_rotate_tokens(&v, 4000, now + 99, &next, &why), ST_OVERLOADED);
    assert_true(why.message[0] != '\0');
    assert_int_equal(vault_rotate_tokens(&v, 4000, now + 100, &next, &why), ST_OK);
    assert_int_equal(next.n_old, 1);
    vault_adopt_tokens(&v, &next);
    vault_close(&v);
}

static void a_seal_key_of_another_form_is_no_key(void **state) {
    struct folder *f = *state;
    char path[128];
    file_path(state, "seal.key", path);
    static const char *const texts[] = {
        "",
        "00",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0",
        "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdeg",
        "0123456789abcdef 123456789abcdef0123456789abcdef0123456789abcdef",
    };
    struct vault v;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_int_equal(os_replace_file(path, str_of(texts[i]), NULL), ST_OK);
        assert_int_equal(vault_open(f->path, names, 1, VALIDITY_S, now, &v, NULL), ST_BAD_REQUEST);
    }
    assert_int_equal(
        os_replace_file(
            path, STR("0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdeF\n"), NULL),
        ST_OK);
    v = open_vault(state, 1, now);
    assert_int_equal(v.seal.bytes[0], 0x01);
    assert_int_equal(v.seal.bytes[7], 0xef);
    assert_int_equal(v.seal.bytes[31], 0xef);
    vault_close(&v);
}

static void names_and_folders_that_will_not_do_are_refused(void **state) {
    struct folder *f = *state;
    static const struct str bad[] = {STR_INIT("no name")};
    struct vault v;
    struct problem why = {{0}, {0}};
    assert_int_equal(vault_open(f->path, bad, 1, VALIDITY_S, now, &v, &why), ST_BAD_REQUEST);
    assert_string_equal(why.target, "names");
    assert_int_equal(vault_open("/dev/null/x", names, 1, VALIDITY_S, now, &v, &why), ST_IO_FAILED);
    assert_null(v.tokens.key);
}

/* Primes take their time: all tests but the first find a token key in their folder. */
static struct buf token_pem;

static int make_token_key(void **state) {
    (void)state;
    buf_init(&token_pem, 1 << 14);
    struct rsa_key *key = rsa_key_make();
    rsa_key_save(key, &token_pem);
    rsa_key_unref(key);
    return 0;
}

static int drop_token_key(void **state) {
    (void)state;
    buf_destroy(&token_pem);
    return 0;
}

static int folder_with_token_key(void **state) {
    char path[128];
    if (folder_make(state) != 0)
        return -1;
    file_path(state, "token.pem", path);
    return os_replace_file(path, buf_view(&token_pem), NULL) == ST_OK ? 0 : -1;
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_with_token_key, folder_remove)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_first_start_makes_what_later_ones_read, folder_make,
                                        folder_remove),
        IN_FOLDER(only_its_user_may_read_the_keys),
        IN_FOLDER(the_certificate_is_renewed_when_due_by_the_same_authority),
        IN_FOLDER(a_short_certificate_is_renewed_after_two_thirds),
        IN_FOLDER(a_key_that_signed_stays_until_its_tokens_have_ended),
        IN_FOLDER(keys_do_not_pile_up),
        IN_FOLDER(half_a_pair_of_the_server_is_made_anew),
        IN_FOLDER(damage_is_named_and_left_alone),
        IN_FOLDER(a_seal_key_of_another_form_is_no_key),
        IN_FOLDER(names_and_folders_that_will_not_do_are_refused),
    };
    return cmocka_run_group_tests_name("vault", tests, make_token_key, drop_token_key);
}
