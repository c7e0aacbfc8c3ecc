#include "http/target.h"

bool target_split(struct str target, struct str *path, struct str *query) {
    if (target.n == 0)
        return false;
    if (target.p[0] != '/') {
        ptrdiff_t at = str_find(target, STR("://"));
        if (at <= 0)
            return false;
        target = str_skip(target, (size_t)at + 3);
        const char *slash = target.n ? memchr(target.p, '/', target.n) : NULL;
        if (!slash)
            return false;
        target = str_skip(target, (size_t)(slash - target.p));
    }
    const char *hash = memchr(target.p, '#', target.n);
    if (hash)
        target.n = (size_t)(hash - target.p);
    const char *mark = memchr(target.p, '?', target.n);
    if (mark) {
        *query = str_skip(target, (size_t)(mark - target.p) + 1);
        target.n = (size_t)(mark - target.p);
    } else {
        *query = (struct str){NULL, 0};
    }
    *path = target;
    return true;
}

bool target_segment(struct str *path, struct str *segment) {
    while (path->n && path->p[0] == '/')
        *path = str_skip(*path, 1);
    if (path->n == 0)
        return false;
    const char *slash = memchr(path->p, '/', path->n);
    *segment = (struct str){path->p, slash ? (size_t)(slash - path->p) : path->n};
    *path = str_skip(*path, segment->n);
    return true;
}

bool target_decode(struct str s, bool is_query, char *out, struct str *decoded) {
    if (!s.n || (!memchr(s.p, '%', s.n) && !(is_query && memchr(s.p, '+', s.n)))) {
        *decoded = s;
        return true;
    }
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            uint64_t byte;
            if (s.n - i < 3 || !str_to_hex_u64((struct str){s.p + i + 1, 2}, &byte) || byte == 0)
                return false;
            c = (char)byte;
            i += 2;
        } else if (c == '+' && is_query) {
            c = ' ';
        }
        out[n++] = c;
    }
    *decoded = (struct str){out, n};
    return true;
}

struct str query_get(struct str query, struct str name) {
    struct str item;
    while (str_cut(&query, '&', &item)) {
        char text[64];
        struct str value = item, key, decoded;
        if (!str_cut(&value, '=', &key) || key.n > sizeof text)
            continue;
        if (target_decode(key, true, text, &decoded) && str_ieq(decoded, name))
            return value.p ? value : STR("");
    }
    return (struct str){NULL, 0};
}
