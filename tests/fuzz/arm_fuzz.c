/* arm_fuzz.c - arbitrary requests to the control plane: each answered, never a 5xx, nothing half-written. */
/* rooms: arm sizing model http json base */
#include "fuzz/fuzz.h"
#include "support/arm_rig.h"

/*
 * Requests are parted by a line "---". The first line of each is a letter for the method and the target;
 * "~" in it stands for the test's account, "^" for its subscription. The rest is the body. A capital
 * letter asks as the operator, a small one as somebody with a role.
 */
static enum arm_method method_of(char c) {
    switch (c | 0x20) {
    case 'p':
        return ARM_PUT_METHOD;
    case 'a':
        return ARM_PATCH;
    case 'o':
        return ARM_POST;
    case 'd':
        return ARM_DELETE_METHOD;
    case 'h':
        return ARM_HEAD;
    default:
        return ARM_GET;
    }
}

static void expand(struct buf *out, struct str target) {
    for (size_t i = 0; i < target.n; i++) {
        if (target.p[i] == '~')
            buf_lit(out, ACCOUNT_1);
        else if (target.p[i] == '^')
            buf_lit(out, SUB);
        else
            buf_char(out, target.p[i]);
    }
}

static void ask(struct rig *g, struct str text) {
    struct buf target, body;
    struct str line = text;
    const char *end = text.n ? memchr(text.p, '\n', text.n) : NULL;
    if (end)
        line.n = (size_t)(end - text.p);
    if (line.n == 0)
        return;
    buf_init(&target, 64 << 10);
    buf_init(&body, 64 << 10);
    char letter = line.p[0];
    g->caller.is_operator = letter >= 'A' && letter <= 'Z';
    g->caller.object_id = STR(ALICE);
    expand(&target, str_skip(line, 1));
    buf_char(&target, '\0');
    buf_str(&body, str_skip(text, line.n + 1));
    struct arm_request q = {.method = method_of(letter),
                            .target = {target.p, target.len - 1},
                            .body = buf_view(&body),
                            .caller = g->caller,
                            .now_ms = g->now_ms,
                            .base_url = STR("https://arm.test"),
                            .is_import = letter == 'I'};
    for (size_t i = 0; i < ARM_RANDOM_WORDS; i++)
        q.random[i] = g->random += UINT64_C(0x9e3779b97f4a7c15);
    arm_changes_clear(&g->changes);
    arm_handle(g->arm, &q, &g->answer, &g->changes);
    rig_commit(g);
    assert(g->answer.status >= 200 && g->answer.status < 500);
    assert(g->answer.status < 300 || (g->changes.n == 0 && !g->answer.needs_snapshot));
    assert(g->answer.status < 400 || strcmp(rig_str(g, "error.code"), "(absent)") != 0);
    buf_destroy(&target);
    buf_destroy(&body);
}

/* The world as the store has it is the world as memory has it. */
static void check(struct rig *g) {
    struct problem why = {0};
    struct buf mine, theirs;
    struct arm *other = rig_replay(g, true, &why);
    assert(other);
    buf_init(&mine, 64 << 20);
    buf_init(&theirs, 64 << 20);
    arm_documents(g->arm, &mine);
    arm_documents(other, &theirs);
    assert(str_eq(buf_view(&mine), buf_view(&theirs)));
    buf_destroy(&mine);
    buf_destroy(&theirs);
    arm_free(other);
}

/* The world that each input finds: made once, since it takes a dozen requests. */
static const struct rig *base(void) {
    static struct rig made;
    if (made.arm)
        return &made;
    rig_init(&made);
    PUT(&made,
        SUB "/providers/Microsoft.Authorization/roleAssignments/"
            "aaaaaaaa-1111-1111-1111-111111111111" V,
        "{\"properties\":{\"principalId\":\"" ALICE "\",\"roleDefinitionId\":"
        "\"b24988ac-6180-42a0-ab88-20f7382dd24c\"}}");
    return &made;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str rest = {(const char *)data, size};
    struct problem why = {0};
    struct rig g;
    rig_init_from(&g, base(), rig_replay(base(), false, &why));
    assert(g.arm);
    while (rest.n) {
        ptrdiff_t at = str_find(rest, STR("\n---\n"));
        ask(&g, at < 0 ? rest : (struct str){rest.p, (size_t)at});
        rest = at < 0 ? STR("") : str_skip(rest, (size_t)at + 5);
    }
    if (g.n_changed)
        check(&g);
    rig_destroy(&g);
    return 0;
}
