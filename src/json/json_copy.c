/* json_copy.c - a value that was read, written again. */
#include "json/json.h"

#include <stdio.h>

bool json_copy(struct json_writer *w, struct json_value v, int depth_max) {
    struct json_iter it;
    struct json_value item;
    struct str key;
    char number[40];
    int64_t n;
    if (depth_max == 0)
        return false;
    switch (json_type(v)) {
    case JSON_NULL:
        json_null_value(w);
        break;
    case JSON_BOOL:
        json_bool_value(w, json_bool(v));
        break;
    case JSON_INT:
        if (json_i64(v, &n))
            json_i64_value(w, n);
        break;
    case JSON_UINT:
    case JSON_DOUBLE:
        snprintf(number, sizeof number, "%.17g", json_f64(v));
        json_raw(w, str_of(number));
        break;
    case JSON_STRING:
        json_str_value(w, json_str(v));
        break;
    case JSON_OBJECT:
        json_begin_object(w);
        json_fields(&it, v);
        while (json_next_field(&it, &key, &item)) {
            json_key(w, key);
            if (!json_copy(w, item, depth_max - 1))
                return false;
        }
        json_end_object(w);
        break;
    case JSON_ARRAY:
        json_begin_array(w);
        json_items(&it, v);
        while (json_next(&it, &item)) {
            if (!json_copy(w, item, depth_max - 1))
                return false;
        }
        json_end_array(w);
        break;
    }
    return true;
}
