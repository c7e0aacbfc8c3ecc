#include "arm/text.h"

#include <stdio.h>

enum { MS_PER_DAY = 86400000, DAYS_TO_1970 = 719468 };

/* Days since 1970 to a date and back, in the proleptic Gregorian calendar: years begin in March, so
 * that the leap day is the last of its year, and 400 years have 146,097 days. */
static void date_of(int64_t days, int *year, int *month, int *day) {
    int64_t z = days + DAYS_TO_1970;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2));
}

static int64_t days_of(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = year / 400;
    int64_t yoe = year - era * 400;
    int64_t doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - DAYS_TO_1970;
}

struct str time_text(int64_t ms, char *out) {
    int year, month, day;
    int64_t days = ms / MS_PER_DAY, rest = ms % MS_PER_DAY;
    if (rest < 0) {
        rest += MS_PER_DAY;
        days--;
    }
    /* 0000-01-01 and 9999-12-31 */
    days = i64_min(i64_max(days, -719528), 2932896);
    date_of(days, &year, &month, &day);
    int n = snprintf(out, TIME_TEXT, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", year, month, day,
                     (int)(rest / 3600000), (int)(rest / 60000 % 60), (int)(rest / 1000 % 60),
                     (int)(rest % 1000));
    assert(n == 24);
    return (struct str){out, (size_t)n};
}

/* Takes `n` digits off the front, and the separator behind them ('\0': none). */
static bool take_digits(struct str *s, size_t n, char separator, int64_t *out) {
    *out = 0;
    if (s->n < n + (separator != '\0'))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (s->p[i] < '0' || s->p[i] > '9')
            return false;
        *out = *out * 10 + (s->p[i] - '0');
    }
    if (separator && s->p[n] != separator)
        return false;
    *s = str_skip(*s, n + (separator != '\0'));
    return true;
}

bool time_read(struct str text, int64_t *ms) {
    int64_t year, month, day, hour, minute, second, milli = 0, unit = 100;
    if (!take_digits(&text, 4, '-', &year) || !take_digits(&text, 2, '-', &month) ||
        !take_digits(&text, 2, 'T', &day) || !take_digits(&text, 2, ':', &hour) ||
        !take_digits(&text, 2, ':', &minute) || !take_digits(&text, 2, '\0', &second))
        return false;
    if (text.n && text.p[0] == '.') {
        for (text = str_skip(text, 1); text.n && text.p[0] >= '0' && text.p[0] <= '9';
             text = str_skip(text, 1)) {
            milli += unit * (text.p[0] - '0');
            unit /= 10;
        }
    }
    if (!str_eq(text, STR("Z")) || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 ||
        minute > 59 || second > 59)
        return false;
    *ms = ((days_of(year, month, day) * 24 + hour) * 60 + minute) * 60000 + second * 1000 + milli;
    return true;
}

struct str guid_text(uint64_t high, uint64_t low, char *out) {
    high = (high & ~UINT64_C(0xf000)) | UINT64_C(0x4000);         /* version 4 */
    low = (low & ~(UINT64_C(0xc) << 60)) | (UINT64_C(0x8) << 60); /* variant 1 */
    int n = snprintf(out, GUID_TEXT, "%08llx-%04llx-%04llx-%04llx-%012llx",
                     (unsigned long long)(high >> 32), (unsigned long long)(high >> 16 & 0xffff),
                     (unsigned long long)(high & 0xffff), (unsigned long long)(low >> 48),
                     (unsigned long long)(low & UINT64_C(0xffffffffffff)));
    assert(n == 36);
    return (struct str){out, (size_t)n};
}

bool guid_is_valid(struct str text) {
    for (size_t i = 0; i < text.n; i++) {
        char c = text.p[i];
        bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
        bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
        if (is_dash ? c != '-' : !is_hex)
            return false;
    }
    return text.n == 36;
}

struct str text_lower(struct str s, char *out) {
    for (size_t i = 0; i < s.n; i++)
        out[i] = s.p[i] >= 'A' && s.p[i] <= 'Z' ? (char)(s.p[i] + ('a' - 'A')) : s.p[i];
    return (struct str){out, s.n};
}

static bool is_alnum(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool name_is_valid(struct str s, size_t min, size_t max) {
    for (size_t i = 0; i < s.n; i++) {
        if (!is_alnum(s.p[i]) && (i == 0 || !memchr("_.-", s.p[i], 3)))
            return false;
    }
    return s.n >= min && s.n <= max && s.n > 0;
}

bool api_version_is_valid(struct str s) {
    int64_t year, month, day;
    if (!take_digits(&s, 4, '-', &year) || !take_digits(&s, 2, '-', &month) ||
        !take_digits(&s, 2, '\0', &day) || month < 1 || month > 12 || day < 1 || day > 31)
        return false;
    return s.n == 0 || str_ieq(s, STR("-preview")) || str_ieq(s, STR("-privatepreview")) ||
           str_ieq(s, STR("-alpha")) || str_ieq(s, STR("-beta")) || str_ieq(s, STR("-rc"));
}

void text_put_escaped(struct buf *out, struct str s) {
    for (size_t i = 0; i < s.n; i++) {
        if (is_alnum(s.p[i]) || memchr("-._~", s.p[i], 4))
            buf_char(out, s.p[i]);
        else
            buf_printf(out, "%%%02X", (unsigned)(unsigned char)s.p[i]);
    }
}
