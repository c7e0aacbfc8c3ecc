#include "model/fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { WARNINGS_MAX = 100, NAME_MAX_SHOWN = 40 };

void warnings_destroy(struct warnings *w) {
    free(w->items);
    *w = (struct warnings){0};
}

/* Appends to a path, cutting what does not fit: the path is for a person. */
static void path_join(char *out, size_t size, const char *path, const char *name) {
    snprintf(out, size, "%s/%s", path, name);
}

void reader_init(struct reader *r, struct str file, struct str pointer, struct problem *why,
                 struct warnings *warnings) {
    *r = (struct reader){.why = why, .warnings = warnings};
    snprintf(r->origin, sizeof r->origin, "%.*s:%.*s", STR_ARG(file), STR_ARG(pointer));
}

static void fill(struct problem *p, const struct reader *r, const char *path, const char *format,
                 va_list args) {
    snprintf(p->target, sizeof p->target, "%s%s", r->origin, path);
    vsnprintf(p->message, sizeof p->message, format, args);
}

static void refuse(struct reader *r, const char *path, const char *format, va_list args) {
    if (r->status != ST_OK)
        return;
    r->status = ST_BAD_REQUEST;
    if (r->why)
        fill(r->why, r, path, format, args);
}

static void warn(struct reader *r, const char *path, const char *format, va_list args) {
    struct warnings *w = r->warnings;
    if (!w)
        return;
    if (w->n == WARNINGS_MAX) {
        w->n_dropped++;
        return;
    }
    if (!w->items)
        w->items = xcalloc(WARNINGS_MAX, sizeof *w->items);
    fill(&w->items[w->n++], r, path, format, args);
}

void reader_refuse(struct reader *r, const char *path, const char *format, ...) {
    va_list args;
    va_start(args, format);
    refuse(r, path, format, args);
    va_end(args);
}

void reader_warn(struct reader *r, const char *path, const char *format, ...) {
    va_list args;
    va_start(args, format);
    warn(r, path, format, args);
    va_end(args);
}

void fields_refuse(struct fields *f, const char *name, const char *format, ...) {
    char path[2 * FIELDS_PATH];
    path_join(path, sizeof path, f->path, name);
    va_list args;
    va_start(args, format);
    refuse(f->r, path, format, args);
    va_end(args);
}

void fields_warn(struct fields *f, const char *name, const char *format, ...) {
    char path[2 * FIELDS_PATH];
    path_join(path, sizeof path, f->path, name);
    va_list args;
    va_start(args, format);
    warn(f->r, path, format, args);
    va_end(args);
}

static const char *type_name(struct json_value v) {
    switch (json_type(v)) {
    case JSON_NULL:
        return "null";
    case JSON_BOOL:
        return json_bool(v) ? "true" : "false";
    case JSON_INT:
    case JSON_UINT:
    case JSON_DOUBLE:
        return "a number";
    case JSON_STRING:
        return "a text";
    case JSON_ARRAY:
        return "an array";
    case JSON_OBJECT:
        return "an object";
    }
    return "";
}

void fields_begin(struct fields *f, struct reader *r, struct json_value value, const char *path) {
    *f = (struct fields){.r = r, .object = value};
    snprintf(f->path, sizeof f->path, "%s", path);
    if (r->status == ST_OK && json_type(value) != JSON_OBJECT)
        reader_refuse(r, path, "must be an object, not %s", type_name(value));
}

static int lower(char c) {
    return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
}

/* Edits (insert, delete, replace; case is free) that turn a into b: Levenshtein's distance. */
static int distance(struct str a, struct str b) {
    int row[NAME_MAX_SHOWN + 1];
    if (a.n > NAME_MAX_SHOWN || b.n > NAME_MAX_SHOWN)
        return INT16_MAX;
    for (size_t j = 0; j <= b.n; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= a.n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= b.n; j++) {
            int replaced = diagonal + (lower(a.p[i - 1]) != lower(b.p[j - 1]));
            diagonal = row[j];
            int shorter = row[j - 1] < row[j] ? row[j - 1] : row[j];
            row[j] = replaced <= shorter ? replaced : shorter + 1;
        }
    }
    return row[b.n];
}

/* The known name that was probably meant, or NULL. */
static const char *nearest(const struct fields *f, struct str name) {
    const char *best = NULL;
    int least = 1 + (int)name.n / 3; /* one slip in three letters */
    for (int i = 0; i < f->n_known; i++) {
        int d = distance(name, str_of(f->known[i]));
        if (d <= least) {
            least = d - 1;
            best = f->known[i];
        }
    }
    return best;
}

void fields_end(struct fields *f) {
    if (f->r->status != ST_OK)
        return;
    uint64_t seen = 0;
    struct json_iter it;
    struct str key;
    struct json_value value;
    json_fields(&it, f->object);
    while (json_next_field(&it, &key, &value)) {
        int i = 0;
        while (i < f->n_known && !str_eq(key, str_of(f->known[i])))
            i++;
        char shown[NAME_MAX_SHOWN + 1];
        snprintf(shown, sizeof shown, "%.*s", (int)size_min(key.n, NAME_MAX_SHOWN), key.p);
        if (i < f->n_known) {
            if (seen >> i & 1)
                fields_refuse(f, shown, "is given twice");
            seen |= UINT64_C(1) << i;
            continue;
        }
        const char *meant = nearest(f, key);
        fields_warn(f, shown, "is not known here and has no effect%s%s%s",
                    meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
    }
}

static void know(struct fields *f, const char *name) {
    static_assert(FIELDS_KNOWN <= 64, "fields_end keeps a bit for each");
    assert(f->n_known < FIELDS_KNOWN);
    f->known[f->n_known++] = name;
}

bool fields_value(struct fields *f, const char *name, struct json_value *out) {
    know(f, name);
    struct json_value v;
    if (f->r->status != ST_OK || !json_get(f->object, str_of(name), &v) ||
        json_type(v) == JSON_NULL)
        return false;
    *out = v;
    return true;
}

bool fields_str(struct fields *f, const char *name, size_t min, size_t max, struct str *out) {
    struct json_value v;
    if (!fields_value(f, name, &v))
        return false;
    struct str s = json_str(v);
    if (json_type(v) != JSON_STRING) {
        fields_refuse(f, name, "must be a text, not %s", type_name(v));
    } else if (s.n < min || s.n > max) {
        fields_refuse(f, name, "must have %zu to %zu bytes, not %zu", min, max, s.n);
    } else if (memchr(s.p, '\0', s.n)) {
        fields_refuse(f, name, "must not hold U+0000");
    } else {
        *out = s;
        return true;
    }
    return false;
}

/* A number without a fraction, however it is written: many serializers write 1 as 1.0. Up to 2^53, beyond
 * which a double stands for several whole numbers. */
static bool read_whole(struct json_value v, int64_t *out) {
    static const double exact = 9007199254740992.0;
    if (json_type(v) != JSON_DOUBLE)
        return json_i64(v, out);
    double d = json_f64(v);
    if (fabs(d) > exact || trunc(d) != d)
        return false;
    *out = (int64_t)d;
    return true;
}

static bool take_i64(struct fields *f, const char *name, int64_t min, int64_t max, bool takes_text,
                     int64_t *out) {
    struct json_value v;
    if (!fields_value(f, name, &v))
        return false;
    int64_t n = 0;
    bool is_whole =
        json_type(v) == JSON_STRING ? takes_text && str_to_i64(json_str(v), &n) : read_whole(v, &n);
    if (!is_whole && json_type(v) != JSON_DOUBLE && json_type(v) != JSON_UINT) {
        fields_refuse(f, name, "must be a whole number, not %s", type_name(v));
    } else if (!is_whole || n < min || n > max) {
        fields_refuse(f, name, "must be a whole number from %lld to %lld", (long long)min,
                      (long long)max);
    } else {
        *out = n;
        return true;
    }
    return false;
}

bool fields_i64(struct fields *f, const char *name, int64_t min, int64_t max, int64_t *out) {
    return take_i64(f, name, min, max, false, out);
}

bool fields_i64_or_text(struct fields *f, const char *name, int64_t min, int64_t max,
                        int64_t *out) {
    return take_i64(f, name, min, max, true, out);
}

bool fields_milli(struct fields *f, const char *name, int64_t min, int64_t max, int64_t *out) {
    struct json_value v;
    if (!fields_value(f, name, &v))
        return false;
    enum json_type type = json_type(v);
    if (type != JSON_INT && type != JSON_UINT && type != JSON_DOUBLE) {
        fields_refuse(f, name, "must be a number, not %s", type_name(v));
        return false;
    }
    double milli = json_f64(v) * 1000;
    if (milli < (double)min || milli > (double)max || fabs(milli - round(milli)) > 1e-6) {
        fields_refuse(f, name, "must be a number from %g to %g with at most three decimals",
                      (double)min / 1000, (double)max / 1000);
        return false;
    }
    *out = (int64_t)round(milli);
    return true;
}

bool fields_bool(struct fields *f, const char *name, bool *out) {
    struct json_value v;
    if (!fields_value(f, name, &v))
        return false;
    if (json_type(v) != JSON_BOOL) {
        fields_refuse(f, name, "must be true or false, not %s", type_name(v));
        return false;
    }
    *out = json_bool(v);
    return true;
}

bool fields_enum(struct fields *f, const char *name, const struct str *names, int n_names,
                 int *out) {
    struct str s;
    if (!fields_str(f, name, 0, SIZE_MAX, &s))
        return false;
    char list[256] = "";
    size_t n = 0;
    for (int i = 0; i < n_names; i++) {
        if (str_ieq(s, names[i])) {
            *out = i;
            return true;
        }
        int more = snprintf(list + n, sizeof list - n, "%s%.*s", i ? ", " : "", STR_ARG(names[i]));
        n = size_min(n + (size_t)more, sizeof list - 1);
    }
    fields_refuse(f, name, "must be %s%s, not \"%.*s\"", n_names > 1 ? "one of " : "", list,
                  (int)size_min(s.n, NAME_MAX_SHOWN), s.p);
    return false;
}

bool fields_object(struct fields *f, const char *name, struct fields *sub) {
    struct json_value v;
    if (!fields_value(f, name, &v))
        return false;
    char path[2 * FIELDS_PATH];
    path_join(path, sizeof path, f->path, name);
    fields_begin(sub, f->r, v, path);
    return f->r->status == ST_OK;
}

bool fields_array(struct fields *f, const char *name, struct json_iter *items) {
    struct json_value v;
    if (!fields_value(f, name, &v))
        return false;
    if (json_type(v) != JSON_ARRAY) {
        fields_refuse(f, name, "must be an array, not %s", type_name(v));
        return false;
    }
    json_items(items, v);
    return true;
}

void fields_ignore(struct fields *f, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        know(f, names[i]);
}

void fields_require(struct fields *f, const char *name, bool is_given, const char *advice) {
    if (!is_given)
        fields_refuse(f, name, "is missing; %s", advice);
}
