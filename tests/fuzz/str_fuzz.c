/* str_fuzz.c - numbers and separated lists from arbitrary bytes: what is read must print the same. */
/* rooms: base */
#include "base/str.h"
#include "fuzz/fuzz.h"

#include <inttypes.h>
#include <stdio.h>

/* A number that was read prints as it stood, but for leading zeros and a minus before nought. */
static void check_number(struct str s) {
    int64_t value;
    if (!str_to_i64(s, &value))
        return;
    bool is_negative = str_starts(s, STR("-"));
    struct str digits = str_skip(s, is_negative);
    while (digits.n > 1 && digits.p[0] == '0')
        digits = str_skip(digits, 1);
    char text[32];
    int n = snprintf(text, sizeof text, "%" PRId64, value);
    struct str printed = {text, (size_t)n};
    assert(str_eq(str_skip(printed, value < 0), digits));
    assert(value == 0 || is_negative == (value < 0));
}

static void check_hex(struct str s) {
    uint64_t value;
    if (!str_to_hex_u64(s, &value))
        return;
    while (s.n > 1 && s.p[0] == '0')
        s = str_skip(s, 1);
    char text[32];
    int n = snprintf(text, sizeof text, "%" PRIx64, value);
    assert(str_ieq(s, (struct str){text, (size_t)n}));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct str all = {(const char *)data, size}, rest = all, item;
    size_t covered = 0, n_items = 0;
    while (str_cut(&rest, ',', &item)) {
        covered += item.n;
        n_items++;
        check_number(item);
        check_hex(item);
        struct str trimmed = str_trim(item);
        assert(trimmed.n <= item.n && str_find(item, trimmed) >= 0);
    }
    /* The items are all of the text but the commas between them; a comma at the end separates nothing. */
    size_t commas = n_items ? n_items - 1 : 0;
    assert(covered + commas == size || (str_ends(all, STR(",")) && covered + commas + 1 == size));
    return 0;
}
