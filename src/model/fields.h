/* fields.h - reads a JSON object strictly: types, ranges, known names, and where each fault is. */
#ifndef MODEL_FIELDS_H
#define MODEL_FIELDS_H

#include "base/status.h"
#include "json/json.h"

/* The remarks that come with a configuration that is accepted. Ceiling: the first 100 are kept. */
struct warnings {
    struct problem *items; /* owned */
    size_t n;
    size_t n_dropped;
};

void warnings_destroy(struct warnings *w);

/*
 * What one resource's reader remembers: where it stands, and the first fault. After a fault each
 * further read does nothing, so that a function may read all its fields and look once, at
 * fields_end or at reader->status.
 */
struct reader {
    char origin[64]; /* "pools.json:/value/3" */
    enum status status;
    struct problem *why;       /* filled by the first fault; borrowed, may be NULL */
    struct warnings *warnings; /* borrowed, may be NULL */
};

void reader_init(struct reader *r, struct str file, struct str pointer, struct problem *why,
                 struct warnings *warnings);

/* Faults and remarks about `path`, which is appended to the origin. */
void reader_refuse(struct reader *r, const char *path, const char *format, ...) PRINTF_LIKE(3, 4);
void reader_warn(struct reader *r, const char *path, const char *format, ...) PRINTF_LIKE(3, 4);

enum { FIELDS_KNOWN = 48, FIELDS_PATH = 96 };

/*
 * One object being read. Each name that is asked for counts as known; fields_end warns of the other
 * members and names the known one that comes nearest. A member that is null counts as absent.
 * Texts are views into the parsed document.
 */
struct fields {
    struct reader *r;
    struct json_value object;
    char path[FIELDS_PATH];
    const char *known[FIELDS_KNOWN]; /* literals */
    int n_known;
};

/* A fault when the value is no object. */
void fields_begin(struct fields *f, struct reader *r, struct json_value value, const char *path);
void fields_end(struct fields *f);

/* Out-parameters keep what they held when the member is absent or faulty. */
bool fields_value(struct fields *f, const char *name, struct json_value *out);
bool fields_str(struct fields *f, const char *name, size_t min, size_t max, struct str *out);
/* A whole number, also one that is written as 1.0 or 1e3. */
bool fields_i64(struct fields *f, const char *name, int64_t min, int64_t max, int64_t *out);
/* The same, or a text that is such a number. */
bool fields_i64_or_text(struct fields *f, const char *name, int64_t min, int64_t max, int64_t *out);
bool fields_bool(struct fields *f, const char *name, bool *out);

/* A number with up to three decimals, in thousandths; the bounds too. */
bool fields_milli(struct fields *f, const char *name, int64_t min, int64_t max, int64_t *out);

/* The position of the text in `names`, compared without regard to case. */
bool fields_enum(struct fields *f, const char *name, const struct str *names, int n_names,
                 int *out);

/* Begins `sub`, which the caller ends. */
bool fields_object(struct fields *f, const char *name, struct fields *sub);
bool fields_array(struct fields *f, const char *name, struct json_iter *items);

/* Names that are known and of no effect here: what the server itself writes into its answers. */
void fields_ignore(struct fields *f, const char *const *names, size_t n);

/* Faults and remarks about one member. */
void fields_refuse(struct fields *f, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);
void fields_warn(struct fields *f, const char *name, const char *format, ...) PRINTF_LIKE(3, 4);

/* For what must be given: a fault when `is_given` is false. */
void fields_require(struct fields *f, const char *name, bool is_given, const char *advice);

#endif
