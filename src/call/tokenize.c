#include "call/tokenize.h"

#include "tokens/count.h"
#include "tokens/estimate.h"
#include "tokens/nfc.h"

/* The newest of the models of this name; NULL when the catalog has none. */
static const struct model *find_model(const struct catalog *c, struct str name) {
    const struct model *found = NULL;
    for (size_t i = 0; i < c->n; i++) {
        const struct model *m = c->all[i];
        if ((str_ieq(m->name, name) || str_ieq(m->full_name, name)) &&
            (!found || str_cmp(m->version, found->version) > 0))
            found = m;
    }
    return found;
}

static void put_ids(struct json_writer *w, const struct buf *ids) {
    json_key(w, STR("tokens"));
    json_begin_array(w);
    for (size_t at = 0; at < ids->len; at += sizeof(uint32_t)) {
        uint32_t id;
        memcpy(&id, ids->p + at, sizeof id);
        json_i64_value(w, id);
    }
    json_end_array(w);
}

static void put_answer(struct buf *out, const struct model *m, int64_t count, const struct buf *ids,
                       bool is_exact) {
    struct json_writer w;
    json_writer_init(&w, out, 0);
    json_begin_object(&w);
    json_key(&w, STR("count"));
    json_i64_value(&w, count);
    json_key(&w, STR("max_model_len"));
    if (m && m->max_context_tokens)
        json_i64_value(&w, m->max_context_tokens);
    else
        json_null_value(&w);
    if (ids)
        put_ids(&w, ids);
    json_key(&w, STR("exact"));
    json_bool_value(&w, is_exact);
    json_end_object(&w);
}

static enum status answer_text(const struct vocabulary *v, const struct model *m, struct str text,
                               struct buf *out) {
    if (!v) {
        put_answer(out, m, tokens_estimate(text), NULL, false);
        return buf_status(out);
    }
    struct buf ids;
    struct token_cache *cache = token_cache_new(v);
    buf_init(&ids, NFC_GROWTH * text.n * sizeof(uint32_t));
    enum status st = token_ids(cache, text, &ids);
    if (st == ST_OK)
        put_answer(out, m, (int64_t)(ids.len / sizeof(uint32_t)), &ids, true);
    buf_destroy(&ids);
    token_cache_free(cache);
    return st == ST_OK ? buf_status(out) : st;
}

static enum status answer_chat(const struct tokenize_env *env, const struct shared_vocabulary *own,
                               const struct model *m, struct str name, struct str body,
                               struct buf *out, struct problem *why) {
    struct request r;
    struct prompt_framing framing;
    struct request_how how = {.counters = env->counters};
    if (m)
        how.prompt = request_how_of(m, own, &framing);
    how.prompt.budget = SIZE_MAX;
    TRY(request_parse(env->doc, body.p, body.n, OP_CHAT, &r, why));
    TRY(request_count(&r, body.p, OP_CHAT, name, &how, why));
    put_answer(out, m, r.prompt_tokens, NULL, r.tally.is_exact);
    return buf_status(out);
}

enum status tokenize_answer(const struct tokenize_env *env, struct str body, struct buf *out,
                            struct problem *why) {
    struct json_value root, name, prompt, messages;
    TRY(json_parse(env->doc, body.p, body.n, &root, why));
    if (!json_get(root, STR("model"), &name) || json_type(name) != JSON_STRING)
        return problem_set(why, ST_BAD_REQUEST, STR("model"), "Name a model, as a text.");
    struct str model_name = json_str(name);
    const struct model *m = find_model(env->catalog, model_name);
    const struct prompt_rules *rules = prompt_rules_find(m ? m->name : model_name);
    if (!m && rules->encoding == ENCODING_UNKNOWN)
        return problem_set(why, ST_NOT_FOUND, STR("model"),
                           "The catalog has no model \"%.*s\", and its name tells no encoding.",
                           (int)size_min(model_name.n, 100), model_name.p);
    const struct shared_vocabulary *own =
        m && m->tokenizer.n ? vocabulary_set_find(env->vocabularies, m->tokenizer) : NULL;
    bool has_prompt = json_get(root, STR("prompt"), &prompt);
    bool has_messages = json_get(root, STR("messages"), &messages);
    if (has_prompt == has_messages)
        return problem_set(why, ST_BAD_REQUEST, STR("prompt"),
                           "Give either a prompt, as a text, or messages.");
    if (has_messages) {
        /* The name lies in the document, which is parsed anew. */
        char kept[100];
        struct str copy = {kept, size_min(model_name.n, sizeof kept)};
        memcpy(kept, model_name.p, copy.n);
        return answer_chat(env, own, m, m ? m->name : copy, body, out, why);
    }
    if (json_type(prompt) != JSON_STRING)
        return problem_set(why, ST_BAD_REQUEST, STR("prompt"), "must be a text");
    if (own)
        return answer_text(&own->v, m, json_str(prompt), out);
    struct prompt_framing framing;
    enum prompt_encoding encoding = rules->encoding;
    if (m && m->encoding != MODEL_ENCODING_BY_NAME)
        encoding = request_how_of(m, NULL, &framing).encoding;
    struct vocabulary v = encoding == ENCODING_CL100K ? vocabulary_cl100k() : vocabulary_o200k();
    return answer_text(encoding == ENCODING_UNKNOWN ? NULL : &v, m, json_str(prompt), out);
}
