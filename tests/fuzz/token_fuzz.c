/* token_fuzz.c - arbitrary bytes as a token, a key set, a form and a row of the identity room. */
/* rooms: identity crypto http json os base */
#include "identity/principal.h"
#include "identity/service.h"
#include "identity/token.h"

#include <stdlib.h>

#include "crypto/hash.h"
#include "fuzz/fuzz.h"

/* The issuer of the seeds, and the public key of RFC 7638, section 3.1, whose private half
 * nobody here has: so no token can be good. */
#define ISSUER "https://login.example/t/v2.0"
static const char jwks[] =
    "{\"keys\":[{\"kty\":\"RSA\",\"kid\":\"k\",\"e\":\"AQAB\",\"n\":\""
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1"
    "L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4"
    "QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbO"
    "pbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csF"
    "Cur-kEgU8awapJzKnqDKgw\"}]}";

static const struct str audiences[] = {STR_INIT("api://weir")};
static const struct trust_issuer issuer = {
    .issuer = STR_INIT(ISSUER), .audiences = audiences, .n_audiences = 1};

static struct trust *trust;
static struct token_checker *checker;
static struct json_doc *doc;

static void set_up(void) {
    trust = trust_new(TOKEN_SKEW_S);
    enum status st = trust_add_jwks(trust, &issuer, str_of(jwks), NULL);
    assert(st == ST_OK);
    trust_seal(trust);
    checker = token_checker_new(4);
    doc = json_doc_new();
}

static void check_token(struct str token) {
    const struct token_claims *claims = NULL;
    struct str wanted;
    enum token_verdict v =
        token_check(checker, trust, token, INT64_C(1795305600), &claims, &wanted);
    assert(v > TOKEN_GOOD && v < TOKEN_N_VERDICTS && !claims);
    assert((wanted.n > 0) == (v == TOKEN_UNKNOWN_KEY));
    assert(token_bearer(token).n <= token.n);
}

/* The bytes as they are, and as header and claims of a token whose frame is sound:
 * "HEADER\nCLAIMS". */
static void check_parts(struct str bytes) {
    struct str rest = bytes, header;
    if (bytes.n > TOKEN_MAX / 2 || !str_cut(&rest, '\n', &header))
        return;
    struct buf token;
    buf_init(&token, 2 * TOKEN_MAX);
    base64url_put(&token, header);
    buf_char(&token, '.');
    base64url_put(&token, rest);
    buf_lit(&token, ".AAAA");
    check_token(buf_view(&token));
    buf_destroy(&token);
}

static void check_base64(struct str bytes) {
    struct buf plain, again;
    buf_init(&plain, bytes.n);
    buf_init(&again, bytes.n);
    if (base64url_take(&plain, bytes)) {
        base64url_put(&again, buf_view(&plain));
        assert(str_eq(buf_view(&again), bytes));
    } else {
        assert(plain.len == 0);
    }
    buf_destroy(&plain);
    buf_destroy(&again);
}

static void check_form(struct str bytes) {
    struct arena arena;
    struct service_request r;
    struct str audience;
    arena_init(&arena, NULL, 0, 1 << 16);
    if (service_parse(bytes, bytes, &arena, &r) == SERVICE_NONE)
        assert(r.client_id.n > 0 && r.client_secret.n > 0 && service_audience(&r, &audience) &&
               audience.n > 0 && audience.n < TOKEN_TEXT_SIZE);
    arena_destroy(&arena);
}

static void check_row(struct str bytes) {
    struct principal p, back;
    if (principal_parse(doc, bytes, &p, NULL) != ST_OK)
        return;
    struct buf body;
    buf_init(&body, 1 << 16);
    principal_print(&p, &body);
    enum status st = principal_parse(doc, buf_view(&body), &back, NULL);
    assert(st == ST_OK && back.n_secrets == p.n_secrets);
    buf_destroy(&body);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!trust)
        set_up();
    struct str bytes = {(const char *)data, size}, tenant;
    check_token(bytes);
    check_parts(bytes);
    check_base64(bytes);
    check_form(bytes);
    check_row(bytes);
    if (service_route(bytes, &tenant) >= SERVICE_DISCOVERY && tenant.n > 0)
        assert(tenant.p >= bytes.p && tenant.p + tenant.n <= bytes.p + bytes.n);
    struct trust *t = trust_new(0);
    if (trust_add_jwks(t, &issuer, bytes, NULL) == ST_OK)
        trust_seal(t);
    trust_unref(t);
    return 0;
}
