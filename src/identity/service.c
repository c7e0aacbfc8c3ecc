/* service.c - the texts of the token service. */
#include "identity/service.h"

#include "crypto/hash.h"
#include "http/target.h"
#include "os/os.h"
#include "json/json.h"

enum { AUDIENCE_MAX = 255, TENANT_MAX = 64 };

/* --- paths --- */

static bool is_tenant(struct str s) {
    if (s.n == 0 || s.n > TENANT_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            c != '-' && c != '.' && c != '_')
            return false;
    }
    return true;
}

enum service_path service_route(struct str path, struct str *tenant) {
    static const struct {
        struct str parts[3]; /* behind the tenant */
        enum service_path is;
    } below_tenant[] = {
        {{STR_INIT(".well-known"), STR_INIT("openid-configuration")}, SERVICE_DISCOVERY},
        {{STR_INIT("v2.0"), STR_INIT(".well-known"), STR_INIT("openid-configuration")},
         SERVICE_DISCOVERY},
        {{STR_INIT("discovery"), STR_INIT("keys")}, SERVICE_JWKS},
        {{STR_INIT("discovery"), STR_INIT("v2.0"), STR_INIT("keys")}, SERVICE_JWKS},
        {{STR_INIT("oauth2"), STR_INIT("token")}, SERVICE_TOKEN},
        {{STR_INIT("oauth2"), STR_INIT("v2.0"), STR_INIT("token")}, SERVICE_TOKEN},
    };
    struct str segments[4] = {{0}}, segment;
    size_t n = 0;
    *tenant = (struct str){0};
    while (target_segment(&path, &segment)) {
        if (n == ARRAY_LEN(segments))
            return SERVICE_NOT_OURS;
        segments[n++] = segment;
    }
    if (n == 2 && str_ieq(segments[0], STR("metadata")) && str_ieq(segments[1], STR("endpoints")))
        return SERVICE_METADATA;
    if (n == 2 && str_ieq(segments[0], STR("msi")) && str_ieq(segments[1], STR("token")))
        return SERVICE_MSI;
    if (n < 3 || !is_tenant(segments[0]))
        return SERVICE_NOT_OURS;
    for (size_t i = 0; i < ARRAY_LEN(below_tenant); i++) {
        const struct str *parts = below_tenant[i].parts;
        if (str_ieq(parts[0], segments[1]) && str_ieq(parts[1], segments[2]) &&
            str_ieq(parts[2], segments[3])) {
            *tenant = segments[0];
            return below_tenant[i].is;
        }
    }
    return SERVICE_NOT_OURS;
}

/* --- documents --- */

static void put_text(struct json_writer *w, struct str key, struct str value) {
    json_key(w, key);
    json_str_value(w, value);
}

static void put_i64(struct json_writer *w, struct str key, int64_t value) {
    json_key(w, key);
    json_i64_value(w, value);
}

/* A member whose text is several pieces in a row. */
static void put_joined(struct json_writer *w, struct str key, struct str a, struct str b,
                       struct str c) {
    CLEANUP(buf_destroy) struct buf text;
    buf_init(&text, 4096);
    buf_str(&text, a);
    buf_str(&text, b);
    buf_str(&text, c);
    put_text(w, key, buf_view(&text));
}

static void put_url(struct json_writer *w, struct str key, struct str base_url, struct str path) {
    put_joined(w, key, base_url, path, (struct str){0});
}

/* The audience comes with a slash: az asks for "{audience}/.default" and gets two (clients,
 * section 5). */
static void put_audiences(struct json_writer *w, struct str base_url) {
    CLEANUP(buf_destroy) struct buf text;
    buf_init(&text, 4096);
    buf_str(&text, base_url);
    buf_char(&text, '/');
    json_key(w, STR("audiences"));
    json_begin_array(w);
    json_str_value(w, buf_view(&text));
    json_end_array(w);
}

/* az register --endpoint-resource-manager reads this form. */
static void put_old_metadata(struct json_writer *w, struct str base_url) {
    json_begin_object(w);
    put_url(w, STR("galleryEndpoint"), base_url, STR("/"));
    put_url(w, STR("graphEndpoint"), base_url, STR("/graph/"));
    put_url(w, STR("portalEndpoint"), base_url, STR("/portal/"));
    json_key(w, STR("authentication"));
    json_begin_object(w);
    put_url(w, STR("loginEndpoint"), base_url, STR("/adfs"));
    put_audiences(w, base_url);
    json_end_object(w);
    json_end_object(w);
}

/* az 2.91 registers a cloud with this form, and reads lists of it where ARM_CLOUD_METADATA_URL says;
 * each of its members must be there. */
static void put_cloud(struct json_writer *w, struct str base_url) {
    json_begin_object(w);
    put_text(w, STR("name"), STR("Weir"));
    put_url(w, STR("resourceManager"), base_url, STR("/"));
    put_url(w, STR("portal"), base_url, STR("/portal/"));
    put_url(w, STR("gallery"), base_url, STR("/"));
    put_url(w, STR("graph"), base_url, STR("/graph/"));
    put_url(w, STR("graphAudience"), base_url, STR("/graph/"));
    put_url(w, STR("microsoftGraphResourceId"), base_url, STR("/graph/"));
    put_url(w, STR("sqlManagement"), base_url, STR("/"));
    put_url(w, STR("batch"), base_url, STR("/"));
    put_url(w, STR("media"), base_url, STR("/"));
    put_url(w, STR("vmImageAliasDoc"), base_url, STR("/"));
    json_key(w, STR("authentication"));
    json_begin_object(w);
    put_url(w, STR("loginEndpoint"), base_url, STR("/adfs"));
    put_audiences(w, base_url);
    put_text(w, STR("tenant"), STR("adfs"));
    put_text(w, STR("identityProvider"), STR("ADFS"));
    json_end_object(w);
    json_key(w, STR("suffixes"));
    json_begin_object(w);
    static const struct str suffixes[] = {
        STR_INIT("storage"),        STR_INIT("keyVaultDns"), STR_INIT("sqlServerHostname"),
        STR_INIT("acrLoginServer"), STR_INIT("mhsmDns"),
    };
    for (size_t i = 0; i < ARRAY_LEN(suffixes); i++)
        put_text(w, suffixes[i], STR("invalid")); /* RFC 6761: a name that never resolves */
    json_end_object(w);
    json_end_object(w);
}

void service_put_metadata(struct str base_url, struct str api_version, struct buf *json) {
    struct json_writer w;
    json_writer_init(&w, json, 0);
    if (api_version.n == 0 || str_cmp(api_version, STR("2019")) < 0) {
        put_old_metadata(&w, base_url);
        return;
    }
    bool is_list = str_cmp(api_version, STR("2022-09-01")) < 0;
    if (is_list)
        json_begin_array(&w);
    put_cloud(&w, base_url);
    if (is_list)
        json_end_array(&w);
}

static void put_list(struct json_writer *w, struct str key, const struct str *items, size_t n) {
    json_key(w, key);
    json_begin_array(w);
    for (size_t i = 0; i < n; i++)
        json_str_value(w, items[i]);
    json_end_array(w);
}

void service_put_issuer(struct str base_url, struct str tenant, struct buf *out) {
    buf_str(out, base_url);
    buf_char(out, '/');
    buf_str(out, tenant);
    if (!str_ieq(tenant, STR("adfs")))
        buf_lit(out, "/v2.0");
}

void service_put_discovery(struct str base_url, struct str tenant, struct buf *json) {
    static const struct str response_types[] = {STR_INIT("token")};
    static const struct str subject_types[] = {STR_INIT("pairwise")};
    static const struct str algorithms[] = {STR_INIT("RS256")};
    static const struct str grants[] = {STR_INIT("client_credentials")};
    static const struct str methods[] = {STR_INIT("client_secret_post"),
                                         STR_INIT("client_secret_basic")};
    bool is_adfs = str_ieq(tenant, STR("adfs"));
    CLEANUP(buf_destroy) struct buf home;
    buf_init(&home, 4096);
    buf_str(&home, base_url);
    buf_char(&home, '/');
    buf_str(&home, tenant);
    CLEANUP(buf_destroy) struct buf issuer;
    buf_init(&issuer, 4096);
    service_put_issuer(base_url, tenant, &issuer);

    struct json_writer w;
    json_writer_init(&w, json, 0);
    json_begin_object(&w);
    put_text(&w, STR("issuer"), buf_view(&issuer));
    put_url(&w, STR("authorization_endpoint"), buf_view(&home),
            is_adfs ? STR("/oauth2/authorize") : STR("/oauth2/v2.0/authorize"));
    put_url(&w, STR("token_endpoint"), buf_view(&home),
            is_adfs ? STR("/oauth2/token") : STR("/oauth2/v2.0/token"));
    put_url(&w, STR("jwks_uri"), buf_view(&home),
            is_adfs ? STR("/discovery/keys") : STR("/discovery/v2.0/keys"));
    put_list(&w, STR("response_types_supported"), response_types, 1);
    put_list(&w, STR("subject_types_supported"), subject_types, 1);
    put_list(&w, STR("id_token_signing_alg_values_supported"), algorithms, 1);
    put_list(&w, STR("grant_types_supported"), grants, 1);
    put_list(&w, STR("token_endpoint_auth_methods_supported"), methods, ARRAY_LEN(methods));
    json_end_object(&w);
}

void service_put_jwks(struct rsa_key *const *keys, size_t n, struct buf *json) {
    struct json_writer w;
    json_writer_init(&w, json, 0);
    json_begin_object(&w);
    json_key(&w, STR("keys"));
    json_begin_array(&w);
    for (size_t i = 0; i < n; i++) {
        CLEANUP(buf_destroy) struct buf modulus;
        CLEANUP(buf_destroy) struct buf exponent;
        buf_init(&modulus, RSA_BITS_MAX);
        buf_init(&exponent, RSA_BITS_MAX);
        rsa_key_numbers(keys[i], &modulus, &exponent);
        json_begin_object(&w);
        put_text(&w, STR("kty"), STR("RSA"));
        put_text(&w, STR("use"), STR("sig"));
        put_text(&w, STR("alg"), STR("RS256"));
        put_text(&w, STR("kid"), rsa_key_id(keys[i]));
        put_text(&w, STR("n"), buf_view(&modulus));
        put_text(&w, STR("e"), buf_view(&exponent));
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
}

/* --- requests --- */

/* The decoded value of a form's field; empty when absent. False on a broken escape. */
static bool field(struct str form, struct str name, struct arena *arena, struct str *out) {
    struct str raw = query_get(form, name);
    *out = (struct str){0};
    if (raw.n == 0)
        return true;
    char *memory = arena_alloc(arena, raw.n);
    return memory && target_decode(raw, true, memory, out);
}

/* RFC 6749, section 2.3.1: "Basic", then base64 of id and secret, each form encoded, with a colon
 * between. False when it is of that scheme and broken. */
static bool read_basic(struct str authorization, struct arena *arena, struct service_request *out) {
    struct str s = str_trim(authorization);
    if (!str_istarts(s, STR("Basic ")))
        return true;
    s = str_trim(str_skip(s, 6));
    while (s.n > 0 && s.p[s.n - 1] == '=')
        s.n--;
    char *respelled = arena_alloc(arena, s.n + 1);
    if (!respelled)
        return false;
    for (size_t i = 0; i < s.n; i++)
        respelled[i] = s.p[i] == '+' ? '-' : s.p[i] == '/' ? '_' : s.p[i];
    CLEANUP(buf_destroy) struct buf pair;
    buf_init(&pair, s.n + 1);
    if (!base64url_take(&pair, (struct str){respelled, s.n}))
        return false;
    struct str secret = arena_str(arena, buf_view(&pair)), id;
    char *memory = arena_alloc(arena, pair.len + 1);
    char *memory2 = arena_alloc(arena, pair.len + 1);
    return memory && memory2 && str_find(secret, STR(":")) >= 0 && str_cut(&secret, ':', &id) &&
           target_decode(id, true, memory, &out->client_id) &&
           target_decode(secret, true, memory2, &out->client_secret);
}

enum service_refusal service_parse(struct str form, struct str authorization, struct arena *arena,
                                   struct service_request *out) {
    struct service_request r = {0};
    if (!field(form, STR("client_id"), arena, &r.client_id) ||
        !field(form, STR("client_secret"), arena, &r.client_secret) ||
        !field(form, STR("grant_type"), arena, &r.grant_type) ||
        !field(form, STR("scope"), arena, &r.scope) ||
        !field(form, STR("resource"), arena, &r.resource) ||
        (r.client_secret.n == 0 && !read_basic(authorization, arena, &r)))
        return SERVICE_MALFORMED;
    *out = r;
    if (r.grant_type.n == 0)
        return SERVICE_NO_GRANT_TYPE;
    if (!str_eq(r.grant_type, STR("client_credentials")))
        return SERVICE_OTHER_GRANT_TYPE;
    if (r.client_id.n == 0)
        return SERVICE_NO_CLIENT_ID;
    if (r.client_secret.n == 0)
        return SERVICE_NO_SECRET;
    if (r.scope.n == 0 && r.resource.n == 0)
        return SERVICE_NO_SCOPE;
    struct str audience;
    return service_audience(&r, &audience) ? SERVICE_NONE : SERVICE_BAD_SCOPE;
}

/* Scopes of sign-in, which libraries add; they name no resource. */
static bool is_sign_in(struct str s) {
    return str_eq(s, STR("openid")) || str_eq(s, STR("profile")) || str_eq(s, STR("email")) ||
           str_eq(s, STR("offline_access"));
}

bool service_audience(const struct service_request *request, struct str *audience) {
    struct str found = str_trim(request->resource), rest = request->scope, item;
    if (found.n == 0) {
        while (str_cut(&rest, ' ', &item)) {
            if (item.n == 0 || is_sign_in(item))
                continue;
            if (str_ends(item, STR("/.default")))
                item.n -= STR("/.default").n;
            if (found.n > 0 && !str_eq(found, item))
                return false;
            found = item;
        }
    }
    if (found.n == 0 || found.n > AUDIENCE_MAX)
        return false;
    *audience = found;
    return true;
}

/* --- answers --- */

static const struct {
    int number, http;
    struct str error, text;
} refusals[SERVICE_N_REFUSALS] = {
#define SERVICE_REFUSAL_ROW(id, number, http, error, text)                                         \
    [SERVICE_##id] = {number, http, STR_INIT(error), STR_INIT(text)},
    SERVICE_REFUSAL_TABLE(SERVICE_REFUSAL_ROW)
#undef SERVICE_REFUSAL_ROW
};

int service_refusal_http(enum service_refusal why) {
    return refusals[why].http;
}

void service_put_refusal(enum service_refusal why, struct str client_id, struct str trace_id,
                         struct str correlation_id, int64_t now_ms, struct buf *json) {
    assert(why != SERVICE_NONE);
    char time[25];
    os_format_time(now_ms * 1000, time);
    time[10] = ' '; /* "2026-11-22 01:02:03Z", as Entra writes it */
    time[19] = 'Z';
    time[20] = '\0';
    CLEANUP(buf_destroy) struct buf text;
    buf_init(&text, 8192);
    buf_printf(&text, "AADSTS%d: %.*s", refusals[why].number, STR_ARG(refusals[why].text));
    if (client_id.n > 0 && client_id.n <= AUDIENCE_MAX)
        buf_printf(&text, " Application: '%.*s'.", STR_ARG(client_id));
    buf_printf(&text, " Trace ID: %.*s Correlation ID: %.*s Timestamp: %s", STR_ARG(trace_id),
               STR_ARG(correlation_id), time);

    struct json_writer w;
    json_writer_init(&w, json, 0);
    json_begin_object(&w);
    put_text(&w, STR("error"), refusals[why].error);
    put_text(&w, STR("error_description"), buf_view(&text));
    json_key(&w, STR("error_codes"));
    json_begin_array(&w);
    json_i64_value(&w, refusals[why].number);
    json_end_array(&w);
    put_text(&w, STR("timestamp"), str_of(time));
    put_text(&w, STR("trace_id"), trace_id);
    put_text(&w, STR("correlation_id"), correlation_id);
    json_end_object(&w);
}

/* A number as text, as the older forms of the answer have it. */
static void put_digits(struct json_writer *w, struct str key, int64_t value) {
    CLEANUP(buf_destroy) struct buf text;
    buf_init(&text, 24);
    buf_i64(&text, value);
    put_text(w, key, buf_view(&text));
}

void service_put_token(struct str token, int64_t now_s, int64_t lifetime_s, struct str resource,
                       struct buf *json) {
    struct json_writer w;
    json_writer_init(&w, json, 0);
    json_begin_object(&w);
    put_text(&w, STR("token_type"), STR("Bearer"));
    if (resource.n == 0) {
        put_i64(&w, STR("expires_in"), lifetime_s);
        put_i64(&w, STR("ext_expires_in"), lifetime_s);
    } else {
        put_digits(&w, STR("expires_in"), lifetime_s);
        put_digits(&w, STR("ext_expires_in"), lifetime_s);
        put_digits(&w, STR("expires_on"), now_s + lifetime_s);
        put_digits(&w, STR("not_before"), now_s);
        put_text(&w, STR("resource"), resource);
    }
    put_text(&w, STR("access_token"), token);
    json_end_object(&w);
}

void service_put_msi_token(struct str token, struct str client_id, struct str resource,
                           int64_t ends_s, struct buf *json) {
    struct json_writer w;
    json_writer_init(&w, json, 0);
    json_begin_object(&w);
    put_text(&w, STR("access_token"), token);
    put_text(&w, STR("client_id"), client_id);
    put_digits(&w, STR("expires_on"), ends_s);
    put_text(&w, STR("resource"), resource);
    put_text(&w, STR("token_type"), STR("Bearer"));
    json_end_object(&w);
}

void service_put_msi_refusal(int http, struct str message, struct str correlation_id,
                             struct buf *json) {
    struct json_writer w;
    json_writer_init(&w, json, 0);
    json_begin_object(&w);
    put_i64(&w, STR("statusCode"), http);
    put_text(&w, STR("message"), message);
    put_text(&w, STR("correlationId"), correlation_id);
    json_end_object(&w);
}

/* Text inside quotes in a header: what would end or break it becomes an apostrophe or a blank. */
static void put_quoted(struct buf *out, struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        buf_char(out, c == '"' || c == '\\' ? '\'' : (uint8_t)c < 0x20 || c == 0x7f ? ' ' : c);
    }
}

void service_put_challenge(struct str base_url, struct str tenant, struct str error,
                           struct str description, struct buf *out) {
    buf_lit(out, "Bearer authorization_uri=\"");
    put_quoted(out, base_url);
    buf_char(out, '/');
    put_quoted(out, tenant);
    buf_char(out, '"');
    if (error.n == 0)
        return;
    buf_lit(out, ", error=\"");
    put_quoted(out, error);
    buf_lit(out, "\", error_description=\"");
    put_quoted(out, description);
    buf_char(out, '"');
}
