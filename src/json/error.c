#include "json/error.h"

#include "json/json.h"

void json_put_error(struct buf *out, enum status st, const struct problem *why) {
    const struct status_info *info = status_info(st);
    struct json_writer w;
    json_writer_init(&w, out, 0);
    json_begin_object(&w);
    json_key(&w, STR("error"));
    json_begin_object(&w);
    json_key(&w, STR("code"));
    json_str_value(&w, info->code);
    json_key(&w, STR("message"));
    json_str_value(&w, why && why->message[0] ? str_of(why->message) : info->text);
    json_key(&w, STR("type"));
    json_str_value(&w, info->type);
    json_key(&w, STR("param"));
    if (why && why->target[0])
        json_str_value(&w, str_of(why->target));
    else
        json_null_value(&w);
    json_end_object(&w);
    json_end_object(&w);
}
