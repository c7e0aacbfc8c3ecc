#include "arm/fault.h"

#include "json/json.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    int http;
    struct str code;
} faults[FAULT_COUNT] = {
#define FAULT_ROW(id, http, code) [FAULT_##id] = {http, STR_INIT(code)},
    FAULT_TABLE(FAULT_ROW)
#undef FAULT_ROW
};

int fault_http(enum fault f) {
    assert((unsigned)f < FAULT_COUNT);
    return faults[f].http;
}

struct str fault_code(enum fault f) {
    assert((unsigned)f < FAULT_COUNT);
    return faults[f].code;
}

static void put(struct arm_answer *answer, int http, struct str code,
                const struct fault_extra *extra, const char *format, va_list args) {
    char message[1024];
    struct json_writer w;
    vsnprintf(message, sizeof message, format, args);
    arm_answer_clear(answer);
    answer->status = http;
    json_writer_init(&w, &answer->body, 0);
    json_begin_object(&w);
    json_key(&w, STR("error"));
    json_begin_object(&w);
    json_key(&w, STR("code"));
    json_str_value(&w, code);
    json_key(&w, STR("message"));
    json_str_value(&w, str_of(message));
    if (extra && extra->target.n) {
        json_key(&w, STR("target"));
        json_str_value(&w, extra->target);
    }
    if (extra && extra->details.n) {
        json_key(&w, STR("details"));
        json_raw(&w, extra->details);
    }
    if (extra && extra->additional_info.n) {
        json_key(&w, STR("additionalInfo"));
        json_raw(&w, extra->additional_info);
    }
    json_end_object(&w);
    json_end_object(&w);
}

bool fault_set(struct arm_answer *answer, enum fault f, const struct fault_extra *extra,
               const char *format, ...) {
    va_list args;
    va_start(args, format);
    put(answer, fault_http(f), fault_code(f), extra, format, args);
    va_end(args);
    return false;
}

void arm_refuse(struct arm_answer *answer, int status, struct str code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    put(answer, status, code, NULL, format, args);
    va_end(args);
}
