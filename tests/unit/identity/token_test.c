/* token_test.c - tokens that are believed, and each reason for which one is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "crypto/hash.h"
#include "identity/service.h"
#include "identity/token.h"
#include "support/random.h"

static const int64_t now = INT64_C(1795305600);

static struct rsa_key *ours, *theirs; /* our key; that of an outside issuer */
static struct trust *trust;
static struct token_checker *checker;

#define OUTSIDE "https://login.example/tenant/v2.0"

static const struct str our_audiences[] = {STR_INIT("https://management.azure.com"),
                                           STR_INIT("https://localhost:8443/")};
static const struct str outside_audiences[] = {STR_INIT("api://weir")};

static const struct trust_issuer own_issuer = {
    .audiences = our_audiences, .n_audiences = ARRAY_LEN(our_audiences), .is_own = true};
static const struct trust_issuer outside_issuer = {.issuer = STR_INIT(OUTSIDE),
                                                   .audiences = outside_audiences,
                                                   .n_audiences = ARRAY_LEN(outside_audiences)};

/* The key set of an issuer that signs with this key. */
static void put_jwks(struct buf *out, struct rsa_key *key) {
    buf_init(out, 8192);
    service_put_jwks(&key, 1, out);
}

static struct trust *trust_both(struct rsa_key *own_key, struct rsa_key *outside_key) {
    struct trust *t = trust_new(TOKEN_SKEW_S);
    struct buf jwks;
    put_jwks(&jwks, outside_key);
    trust_add_key(t, &own_issuer, own_key);
    assert_int_equal(trust_add_jwks(t, &outside_issuer, buf_view(&jwks), NULL), ST_OK);
    trust_seal(t);
    buf_destroy(&jwks);
    return t;
}

static int set_up(void **state) {
    (void)state;
    ours = rsa_key_make();
    theirs = rsa_key_make();
    trust = trust_both(ours, theirs);
    checker = token_checker_new(64);
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    trust_unref(trust);
    token_checker_free(checker);
    rsa_key_unref(ours);
    rsa_key_unref(theirs);
    return 0;
}

/* --- tokens of every kind --- */

static struct buf issue(const char *audience, int64_t at) {
    struct token_grant grant = {
        .issuer = STR("https://localhost:8443/adfs"),
        .audience = str_of(audience),
        .tenant_id = STR("tenant"),
        .object_id = STR("object"),
        .app_id = STR("app1"),
        .name = STR("ci robot"),
        .token_id = STR("1"),
        .now_s = at,
        .lifetime_s = TOKEN_LIFETIME_S,
    };
    struct buf token;
    buf_init(&token, TOKEN_MAX);
    token_issue(ours, &grant, &token);
    assert_int_equal(buf_status(&token), ST_OK);
    return token;
}

/* A token of any header and claims, signed by `key`, unsigned when it is NULL. */
static struct buf craft(struct rsa_key *key, const char *header, const char *claims) {
    struct buf token, signature;
    buf_init(&token, 4 * TOKEN_MAX);
    buf_init(&signature, RSA_SIGNATURE_MAX);
    base64url_put(&token, str_of(header));
    buf_char(&token, '.');
    base64url_put(&token, str_of(claims));
    if (key)
        rsa_sign(key, buf_view(&token), &signature);
    buf_char(&token, '.');
    base64url_put(&token, buf_view(&signature));
    buf_destroy(&signature);
    return token;
}

/* Header of a token signed by this key. */
static const char *header_of(struct rsa_key *key) {
    static char text[128];
    snprintf(text, sizeof text, "{\"alg\":\"RS256\",\"kid\":\"%.*s\"}", STR_ARG(rsa_key_id(key)));
    return text;
}

static enum token_verdict check_at(struct str token, int64_t at) {
    const struct token_claims *claims = NULL;
    enum token_verdict v = token_check(checker, trust, token, at, &claims, NULL);
    assert_int_equal(v == TOKEN_GOOD, claims != NULL);
    return v;
}

/* An outside token with these claims, in addition to what it needs. */
static enum token_verdict check_outside(const char *claims) {
    struct buf token = craft(theirs, header_of(theirs), claims);
    enum token_verdict v = check_at(buf_view(&token), now);
    buf_destroy(&token);
    return v;
}

#define WHO "\"iss\":\"" OUTSIDE "\",\"aud\":\"api://weir\",\"oid\":\"o\""
#define TIMES "\"exp\":1795309200"

/* --- good ones --- */

static void our_own_token_is_believed(void **state) {
    (void)state;
    struct buf token = issue("https://management.azure.com/", now);
    const struct token_claims *claims = NULL;
    assert_int_equal(token_check(checker, trust, buf_view(&token), now, &claims, NULL), TOKEN_GOOD);
    assert_string_equal(claims->issuer, "https://localhost:8443/adfs");
    assert_string_equal(claims->audience, "https://management.azure.com/");
    assert_string_equal(claims->tenant_id, "tenant");
    assert_string_equal(claims->object_id, "object");
    assert_string_equal(claims->app_id, "app1");
    assert_string_equal(claims->name, "ci robot");
    assert_int_equal(claims->issued_s, now);
    assert_int_equal(claims->begins_s, now);
    assert_int_equal(claims->ends_s, now + TOKEN_LIFETIME_S);
    assert_true(claims->is_own);
    buf_destroy(&token);
}

static void an_outside_token_is_believed(void **state) {
    (void)state;
    struct buf token =
        craft(theirs, header_of(theirs),
              "{\"iss\":\"" OUTSIDE "\",\"aud\":[\"x\",\"API://weir\"],\"sub\":\"s\","
              "\"azp\":\"a\",\"name\":\"Ann\",\"iat\":1795305600.5," TIMES "}");
    const struct token_claims *claims = NULL;
    assert_int_equal(token_check(checker, trust, buf_view(&token), now, &claims, NULL), TOKEN_GOOD);
    assert_string_not_equal(claims->object_id, "s"); /* a GUID made of it: issuer_test.c */
    assert_int_equal(strlen(claims->object_id), 36);
    assert_string_equal(claims->app_id, "a");
    assert_string_equal(claims->name, "Ann");
    assert_string_equal(claims->audience, "API://weir");
    assert_string_equal(claims->tenant_id, "");
    assert_int_equal(claims->issued_s, now);
    assert_false(claims->is_own);
    buf_destroy(&token);
}

static void audiences_differ_in_case_and_slashes_alone(void **state) {
    (void)state;
    static const struct {
        const char *audience;
        enum token_verdict is;
    } cases[] = {
        {"https://management.azure.com", TOKEN_GOOD},
        {"https://management.azure.com//", TOKEN_GOOD},
        {"HTTPS://Management.Azure.com/", TOKEN_GOOD},
        {"https://localhost:8443", TOKEN_GOOD},
        {"https://localhost:8443/x", TOKEN_OTHER_AUDIENCE},
        {"https://localhost:844", TOKEN_OTHER_AUDIENCE},
        {"https://vault.azure.net", TOKEN_OTHER_AUDIENCE},
        {"api://weir", TOKEN_OTHER_AUDIENCE}, /* the outside issuer's */
        {"", TOKEN_OTHER_AUDIENCE},
        {"/", TOKEN_OTHER_AUDIENCE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf token = issue(cases[i].audience, now);
        assert_int_equal(check_at(buf_view(&token), now), cases[i].is);
        buf_destroy(&token);
    }
}

/* --- time --- */

static void clocks_may_differ_by_five_minutes_and_no_more(void **state) {
    (void)state;
    struct buf token = issue("https://management.azure.com", now);
    const int64_t end = now + TOKEN_LIFETIME_S;
    /* Twice: the second time from memory, which must not make it live longer. */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(check_at(buf_view(&token), now - TOKEN_SKEW_S - 1), TOKEN_NOT_YET);
        assert_int_equal(check_at(buf_view(&token), now - TOKEN_SKEW_S), TOKEN_GOOD);
        assert_int_equal(check_at(buf_view(&token), end + TOKEN_SKEW_S - 1), TOKEN_GOOD);
        assert_int_equal(check_at(buf_view(&token), end + TOKEN_SKEW_S), TOKEN_EXPIRED);
    }
    buf_destroy(&token);
}

static void times_out_of_range_are_refused(void **state) {
    (void)state;
    static const struct {
        const char *claims;
        enum token_verdict is;
    } cases[] = {
        {"{" WHO "," TIMES "}", TOKEN_GOOD},
        {"{" WHO ",\"exp\":9007199254740992}", TOKEN_GOOD},
        {"{" WHO ",\"exp\":1795309200.9}", TOKEN_GOOD},
        {"{" WHO ",\"exp\":9223372036854775807}", TOKEN_MALFORMED},
        {"{" WHO ",\"exp\":18446744073709551615}", TOKEN_MALFORMED},
        {"{" WHO ",\"exp\":1e300}", TOKEN_MALFORMED},
        {"{" WHO ",\"exp\":-1}", TOKEN_MALFORMED},
        {"{" WHO ",\"exp\":\"1795309200\"}", TOKEN_MALFORMED},
        {"{" WHO ",\"exp\":null}", TOKEN_MALFORMED},
        {"{" WHO "}", TOKEN_MALFORMED},
        {"{" WHO ",\"exp\":0}", TOKEN_EXPIRED},
        {"{" WHO ",\"nbf\":1795305901," TIMES "}", TOKEN_NOT_YET},
        {"{" WHO ",\"iat\":1795305901," TIMES "}", TOKEN_NOT_YET},
        {"{" WHO ",\"nbf\":1795305900," TIMES "}", TOKEN_GOOD},
        {"{" WHO ",\"nbf\":\"0\"," TIMES "}", TOKEN_MALFORMED},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        assert_int_equal(check_outside(cases[i].claims), cases[i].is);
}

/* --- forgeries --- */

static const char good_claims[] = "{" WHO "," TIMES "}";

static void an_unsigned_token_is_refused_however_it_says_so(void **state) {
    (void)state;
    static const char *const headers[] = {"{\"alg\":\"none\"}", "{\"alg\":\"None\"}",
                                          "{\"alg\":\"nOnE\",\"kid\":\"x\"}"};
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct buf token = craft(NULL, headers[i], good_claims);
        assert_int_equal(check_at(buf_view(&token), now), TOKEN_UNSIGNED);
        buf_destroy(&token);
        token = craft(theirs, headers[i], good_claims); /* signed all the same */
        assert_int_equal(check_at(buf_view(&token), now), TOKEN_UNSIGNED);
        buf_destroy(&token);
    }
    /* With the right header and no signature it is a forgery. */
    struct buf token = craft(NULL, header_of(theirs), good_claims);
    assert_int_equal(check_at(buf_view(&token), now), TOKEN_FORGED);
    buf_destroy(&token);
}

/* The classical confusion: an HMAC whose key is our public key's text. */
static void other_algorithms_are_refused_before_any_key_is_tried(void **state) {
    (void)state;
    static const char *const headers[] = {
        "{\"alg\":\"HS256\"}", "{\"alg\":\"RS512\"}", "{\"alg\":\"PS256\"}", "{\"alg\":\"ES384\"}",
        "{\"alg\":\"rs256\"}", "{\"alg\":\"\"}",      "{\"alg\":\"es256\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct buf token = craft(theirs, headers[i], good_claims);
        assert_int_equal(check_at(buf_view(&token), now), TOKEN_OTHER_ALGORITHM);
        buf_destroy(&token);
    }
    char header[256];
    snprintf(header, sizeof header, "{\"alg\":\"RS256\",\"crit\":[\"b64\"],\"kid\":\"%.*s\"}",
             STR_ARG(rsa_key_id(theirs)));
    struct buf token = craft(theirs, header, good_claims);
    assert_int_equal(check_at(buf_view(&token), now), TOKEN_OTHER_ALGORITHM);
    buf_destroy(&token);
}

static void a_key_signs_for_its_own_issuer_alone(void **state) {
    (void)state;
    /* The outside issuer's key under its own name, for a token that says it is ours. */
    const char *as_ours =
        "{\"iss\":\"https://localhost:8443/adfs\",\"aud\":\"https://management.azure.com\","
        "\"oid\":\"object\"," TIMES "}";
    struct buf token = craft(theirs, header_of(theirs), as_ours);
    assert_int_equal(check_at(buf_view(&token), now), TOKEN_OTHER_ISSUER);
    buf_destroy(&token);
    /* ... or under our key's name. */
    token = craft(theirs, header_of(ours), as_ours);
    assert_int_equal(check_at(buf_view(&token), now), TOKEN_FORGED);
    buf_destroy(&token);
    /* Our key for a token that says it is theirs. */
    token = craft(ours, header_of(ours), good_claims);
    assert_int_equal(check_at(buf_view(&token), now), TOKEN_UNKNOWN_KEY);
    buf_destroy(&token);
    token = craft(ours, header_of(theirs), good_claims);
    assert_int_equal(check_at(buf_view(&token), now), TOKEN_FORGED);
    buf_destroy(&token);
    /* Somebody else. */
    assert_int_equal(
        check_outside("{\"iss\":\"" OUTSIDE "/\",\"aud\":\"api://weir\",\"oid\":\"o\"," TIMES "}"),
        TOKEN_OTHER_ISSUER);
    assert_int_equal(check_outside("{\"iss\":\"\",\"aud\":\"api://weir\",\"oid\":\"o\"," TIMES "}"),
                     TOKEN_OTHER_ISSUER);
}

static void no_byte_of_a_token_may_change(void **state) {
    (void)state;
    struct buf token = issue("https://management.azure.com", now);
    struct random r = {.state = 7519};
    assert_int_equal(check_at(buf_view(&token), now), TOKEN_GOOD);
    for (size_t i = 0; i < token.len; i++) {
        char was = token.p[i];
        token.p[i] = "abcXYZ019-_."[random_below(&r, 12)];
        if (token.p[i] != was)
            assert_int_not_equal(check_at(buf_view(&token), now), TOKEN_GOOD);
        token.p[i] = (char)random_next(&r);
        if (token.p[i] != was)
            assert_int_not_equal(check_at(buf_view(&token), now), TOKEN_GOOD);
        token.p[i] = was;
    }
    for (size_t n = 0; n < token.len; n++)
        assert_int_not_equal(check_at((struct str){token.p, n}, now), TOKEN_GOOD);
    buf_char(&token, 'A');
    assert_int_not_equal(check_at(buf_view(&token), now), TOKEN_GOOD);
    buf_destroy(&token);
}

static void what_is_no_token_is_malformed(void **state) {
    (void)state;
    static const char *const texts[] = {"",
                                        ".",
                                        "..",
                                        "...",
                                        "a.b",
                                        "a.b.c",
                                        "x",
                                        "e30.e30.e30",
                                        "e30.e30.",
                                        "bnVsbA.bnVsbA.",
                                        "W10.W10.e30",
                                        "eyJhbGciOiJSUzI1NiJ9..",
                                        "eyJhbGciOiJSUzI1NiJ9.e30.AA",
                                        "eyJhbGciOiJSUzI1NiJ9.e30.AA.AA"};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        assert_int_equal(check_at(str_of(texts[i]), now), TOKEN_MALFORMED);
    static const char *const claims[] = {
        "{\"aud\":\"api://weir\",\"oid\":\"o\"," TIMES "}",           /* no issuer */
        "{\"iss\":1,\"aud\":\"api://weir\",\"oid\":\"o\"," TIMES "}", /* of another type */
        "{\"iss\":\"" OUTSIDE "\",\"oid\":\"o\"," TIMES "}",          /* no audience */
        "{" WHO ",\"oid\":\"admin\"," TIMES "}",                      /* two of one name */
        "{" WHO ",\"iss\":\"x\"," TIMES "}",
        "{" WHO ",\"exp\":1," TIMES "}",
        "{\"iss\":\"" OUTSIDE "\",\"aud\":\"api://weir\",\"oid\":{}," TIMES "}",
        "{\"iss\":\"" OUTSIDE "\",\"aud\":\"api://weir\",\"oid\":\"o\\u0000x\"," TIMES "}",
        "{" WHO ",\"appid\":[]," TIMES "}",
        "{" WHO ",\"tid\":7," TIMES "}",
        "[]",
        "\"x\"",
        "{",
        "\xff",
    };
    for (size_t i = 0; i < ARRAY_LEN(claims); i++)
        assert_int_equal(check_outside(claims[i]), TOKEN_MALFORMED);
    static const char *const headers[] = {"{}",
                                          "{\"alg\":1}",
                                          "{\"alg\":\"RS256\",\"kid\":1}",
                                          "{\"alg\":\"RS256\",\"alg\":\"none\"}",
                                          "[]",
                                          "\"RS256\""};
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        struct buf token = craft(theirs, headers[i], good_claims);
        assert_int_equal(check_at(buf_view(&token), now), TOKEN_MALFORMED);
        buf_destroy(&token);
    }
}

static void a_token_for_nobody_is_refused(void **state) {
    (void)state;
    assert_int_equal(check_outside("{\"iss\":\"" OUTSIDE "\",\"aud\":\"api://weir\"," TIMES "}"),
                     TOKEN_NOBODY);
    assert_int_equal(
        check_outside("{\"iss\":\"" OUTSIDE "\",\"aud\":\"api://weir\",\"oid\":\"\"," TIMES "}"),
        TOKEN_NOBODY);
    assert_int_equal(check_outside("{\"iss\":\"" OUTSIDE "\",\"aud\":[],\"oid\":\"o\"," TIMES "}"),
                     TOKEN_OTHER_AUDIENCE);
    assert_int_equal(check_outside("{\"iss\":\"" OUTSIDE "\",\"aud\":[1],\"oid\":\"o\"," TIMES "}"),
                     TOKEN_OTHER_AUDIENCE);
}

static void sizes_have_an_end(void **state) {
    (void)state;
    static char claims[3 * TOKEN_MAX];
    /* An id as long as it may be, and one longer. */
    for (size_t extra = 0; extra < 2; extra++) {
        char id[TOKEN_TEXT_SIZE + 1];
        memset(id, 'i', sizeof id);
        id[TOKEN_TEXT_SIZE - 1 + extra] = '\0';
        snprintf(claims, sizeof claims,
                 "{\"iss\":\"" OUTSIDE "\",\"aud\":\"api://weir\",\"oid\":\"%s\"," TIMES "}", id);
        assert_int_equal(check_outside(claims), extra ? TOKEN_MALFORMED : TOKEN_GOOD);
        /* A name for people is left out instead. */
        snprintf(claims, sizeof claims, "{" WHO ",\"name\":\"%s\"," TIMES "}", id);
        assert_int_equal(check_outside(claims), TOKEN_GOOD);
    }
    int n = snprintf(claims, sizeof claims, "{" WHO "," TIMES ",\"x\":\"");
    memset(claims + n, 'x', sizeof claims - (size_t)n);
    memcpy(claims + sizeof claims - 3, "\"}", 3);
    assert_int_equal(check_outside(claims), TOKEN_MALFORMED);
}

/* --- keys that turn over --- */

static void a_new_key_is_fetched_and_an_old_one_forgotten(void **state) {
    (void)state;
    struct buf token = craft(theirs, header_of(theirs), good_claims);
    struct trust *later = trust_both(ours, ours); /* the outside issuer has another key now */
    struct token_checker *c = token_checker_new(8);
    const struct token_claims *claims = NULL;
    struct str issuer;
    assert_int_equal(token_check(c, trust, buf_view(&token), now, &claims, &issuer), TOKEN_GOOD);
    assert_int_equal(issuer.n, 0);
    /* What was believed with the old keys is not believed from memory with the new ones. */
    assert_int_equal(token_check(c, later, buf_view(&token), now, &claims, &issuer),
                     TOKEN_UNKNOWN_KEY);
    assert_true(str_eq(issuer, STR(OUTSIDE)));
    token_checker_free(c);
    trust_unref(later);
    buf_destroy(&token);
}

static void an_issuer_whose_keys_are_not_there_yet_is_known(void **state) {
    (void)state;
    struct trust *t = trust_new(TOKEN_SKEW_S);
    assert_int_equal(trust_add_jwks(t, &outside_issuer, STR(""), NULL), ST_OK);
    trust_seal(t);
    struct buf token = craft(theirs, header_of(theirs), good_claims);
    const struct token_claims *claims = NULL;
    struct str issuer;
    assert_int_equal(token_check(checker, t, buf_view(&token), now, &claims, &issuer),
                     TOKEN_UNKNOWN_KEY);
    assert_true(str_eq(issuer, STR(OUTSIDE)));
    buf_destroy(&token);
    trust_unref(t);
}

static void both_keys_count_while_one_replaces_the_other(void **state) {
    (void)state;
    struct trust *t = trust_new(0);
    trust_add_key(t, &own_issuer, ours);
    trust_add_key(t, &own_issuer, theirs);
    trust_add_key(t, &own_issuer, theirs);
    trust_seal(t);
    const struct token_claims *claims;
    struct rsa_key *keys[] = {ours, theirs};
    for (int i = 0; i < 2; i++) {
        struct buf token =
            craft(keys[i], header_of(keys[i]),
                  "{\"iss\":\"x\",\"aud\":\"https://localhost:8443\",\"oid\":\"o\"," TIMES "}");
        assert_int_equal(token_check(checker, t, buf_view(&token), now, &claims, NULL), TOKEN_GOOD);
        buf_destroy(&token);
    }
    trust_unref(t);
}

/* One installation has many names, and a client may have used any of them. */
static void our_own_name_does_not_matter(void **state) {
    (void)state;
    struct trust *t = trust_new(0);
    for (int i = 0; i < 2 * TRUST_ISSUERS_MAX; i++) {
        char name[32];
        struct trust_issuer own = own_issuer;
        snprintf(name, sizeof name, "https://host-%d/adfs", i);
        own.issuer = str_of(name);
        trust_add_key(t, &own, ours);
    }
    assert_int_equal(trust_add_jwks(t, &outside_issuer, STR(""), NULL), ST_OK);
    trust_seal(t);
    struct buf token = issue("https://localhost:8443", now);
    const struct token_claims *claims;
    assert_int_equal(token_check(checker, t, buf_view(&token), now, &claims, NULL), TOKEN_GOOD);
    buf_destroy(&token);
    trust_unref(t);
}

static void key_sets_are_read_for_what_they_are_good_for(void **state) {
    (void)state;
    struct buf good;
    put_jwks(&good, theirs);
    /* Inside of {"keys":[...]}. */
    struct str key = {good.p + 9, good.len - 11};
    struct buf text;
    buf_init(&text, 32 << 10);
    struct {
        const char *before, *after;
        enum status is;
    } cases[] = {
        {"{\"keys\":[", "]}", ST_OK},
        {"{\"keys\":[{\"kty\":\"EC\"},{\"kty\":\"RSA\"},7,null,", "]}", ST_OK},
        {"{\"keys\":[{\"x\":", "}]}", ST_BAD_REQUEST},
        {"{\"keys\":{\"x\":", "}}", ST_BAD_JSON},
        {"{\"kees\":[", "]}", ST_BAD_JSON},
        {"[", "]", ST_BAD_JSON},
        {"{\"keys\":[", "", ST_BAD_JSON},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct trust *t = trust_new(0);
        struct problem why = {{0}, {0}};
        buf_clear(&text);
        buf_printf(&text, "%s%.*s%s", cases[i].before, STR_ARG(key), cases[i].after);
        assert_int_equal(trust_add_jwks(t, &outside_issuer, buf_view(&text), &why), cases[i].is);
        assert_int_equal(cases[i].is == ST_OK, why.message[0] == '\0' || i == 1);
        trust_unref(t);
    }
    /* A key for another purpose is no key for us. */
    static const struct {
        const char *is, *would_be;
    } purposes[] = {{"\"use\":\"sig\"", "\"use\":\"enc\""},
                    {"\"alg\":\"RS256\"", "\"alg\":\"PS512\""}};
    for (size_t i = 0; i < ARRAY_LEN(purposes); i++) {
        struct trust *t = trust_new(0);
        ptrdiff_t at = str_find(buf_view(&good), str_of(purposes[i].is));
        assert_true(at > 0);
        buf_clear(&text);
        buf_str(&text, buf_view(&good));
        memcpy(text.p + at, purposes[i].would_be, strlen(purposes[i].would_be));
        assert_int_equal(trust_add_jwks(t, &outside_issuer, buf_view(&text), NULL), ST_BAD_REQUEST);
        trust_unref(t);
    }
    buf_destroy(&text);
    buf_destroy(&good);
}

static void issuers_have_an_end(void **state) {
    (void)state;
    struct trust *t = trust_new(0);
    struct trust_issuer issuer = outside_issuer;
    char name[32];
    for (int i = 0; i <= TRUST_ISSUERS_MAX; i++) {
        snprintf(name, sizeof name, "https://issuer-%d", i);
        issuer.issuer = str_of(name);
        assert_int_equal(trust_add_jwks(t, &issuer, STR(""), NULL),
                         i < TRUST_ISSUERS_MAX ? ST_OK : ST_BAD_REQUEST);
    }
    trust_unref(t);
    trust_unref(NULL);
}

/* --- memory --- */

static void a_hot_token_is_verified_once(void **state) {
    (void)state;
    struct token_checker *c = token_checker_new(8);
    struct buf hot = issue("https://management.azure.com", now), other[20];
    const struct token_claims *claims;
    for (int i = 0; i < 20; i++)
        other[i] = issue("https://management.azure.com", now - i - 1);
    int64_t hits, misses;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(token_check(c, trust, buf_view(&hot), now, &claims, NULL), TOKEN_GOOD);
        assert_int_equal(claims->begins_s, now);
        assert_int_equal(token_check(c, trust, buf_view(&other[i]), now, &claims, NULL),
                         TOKEN_GOOD);
        assert_int_equal(claims->begins_s, now - i - 1);
    }
    token_checker_counts(c, &hits, &misses);
    assert_int_equal(hits, 19); /* only the hot one was seen twice, and it was never pushed out */
    assert_int_equal(misses, 21);
    for (int i = 0; i < 20; i++)
        buf_destroy(&other[i]);
    buf_destroy(&hot);
    token_checker_free(c);
}

static void a_refused_token_is_judged_anew_each_time(void **state) {
    (void)state;
    struct token_checker *c = token_checker_new(8);
    struct buf token = issue("https://elsewhere", now);
    const struct token_claims *claims = NULL;
    int64_t hits, misses;
    for (int i = 0; i < 3; i++)
        assert_int_equal(token_check(c, trust, buf_view(&token), now, &claims, NULL),
                         TOKEN_OTHER_AUDIENCE);
    assert_null(claims);
    token_checker_counts(c, &hits, &misses);
    assert_int_equal(hits, 0);
    token_checker_free(c);
    c = token_checker_new(0); /* keeps nothing, judges all the same */
    struct buf good = issue("https://localhost:8443", now);
    for (int i = 0; i < 2; i++)
        assert_int_equal(token_check(c, trust, buf_view(&good), now, &claims, NULL), TOKEN_GOOD);
    token_checker_counts(c, &hits, &misses);
    assert_int_equal(hits, 0);
    token_checker_free(c);
    buf_destroy(&token);
    buf_destroy(&good);
}

/* --- small things --- */

static void the_bearer_scheme_is_told_from_others(void **state) {
    (void)state;
    assert_true(str_eq(token_bearer(STR("Bearer a.b.c")), STR("a.b.c")));
    assert_true(str_eq(token_bearer(STR(" bearer  a.b.c ")), STR("a.b.c")));
    assert_int_equal(token_bearer(STR("Bearer")).n, 0);
    assert_int_equal(token_bearer(STR("Bearer ")).n, 0);
    assert_int_equal(token_bearer(STR("Basic YTpi")).n, 0);
    assert_int_equal(token_bearer(STR("Bearera.b.c")).n, 0);
    assert_int_equal(token_bearer(STR("")).n, 0);
}

static void every_verdict_has_its_own_word_and_a_sentence(void **state) {
    (void)state;
    for (int i = 0; i < TOKEN_N_VERDICTS; i++) {
        assert_true(token_verdict_label((enum token_verdict)i).n > 0);
        assert_true(str_ends(token_verdict_text((enum token_verdict)i), STR(".")));
        for (int j = 0; j < i; j++)
            assert_false(str_eq(token_verdict_label((enum token_verdict)i),
                                token_verdict_label((enum token_verdict)j)));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(our_own_token_is_believed),
        cmocka_unit_test(an_outside_token_is_believed),
        cmocka_unit_test(audiences_differ_in_case_and_slashes_alone),
        cmocka_unit_test(clocks_may_differ_by_five_minutes_and_no_more),
        cmocka_unit_test(times_out_of_range_are_refused),
        cmocka_unit_test(an_unsigned_token_is_refused_however_it_says_so),
        cmocka_unit_test(other_algorithms_are_refused_before_any_key_is_tried),
        cmocka_unit_test(a_key_signs_for_its_own_issuer_alone),
        cmocka_unit_test(no_byte_of_a_token_may_change),
        cmocka_unit_test(what_is_no_token_is_malformed),
        cmocka_unit_test(a_token_for_nobody_is_refused),
        cmocka_unit_test(sizes_have_an_end),
        cmocka_unit_test(a_new_key_is_fetched_and_an_old_one_forgotten),
        cmocka_unit_test(an_issuer_whose_keys_are_not_there_yet_is_known),
        cmocka_unit_test(both_keys_count_while_one_replaces_the_other),
        cmocka_unit_test(our_own_name_does_not_matter),
        cmocka_unit_test(key_sets_are_read_for_what_they_are_good_for),
        cmocka_unit_test(issuers_have_an_end),
        cmocka_unit_test(a_hot_token_is_verified_once),
        cmocka_unit_test(a_refused_token_is_judged_anew_each_time),
        cmocka_unit_test(the_bearer_scheme_is_told_from_others),
        cmocka_unit_test(every_verdict_has_its_own_word_and_a_sentence),
    };
    return cmocka_run_group_tests_name("token", tests, set_up, tear_down);
}
