/* siphash_test.c - SipHash-2-4 against the vectors that its authors published. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"
#include "base/siphash.h"

/* The key 00 01 .. 0f, as the two little-endian words of it. */
static const struct siphash_key published_key = {UINT64_C(0x0706050403020100),
                                                 UINT64_C(0x0f0e0d0c0b0a0908)};

/* Input of n bytes: 00 01 02 .. (vectors.h of the reference code; n = 15 is also appendix A of the
 * paper). */
static void gives_the_published_values(void **state) {
    (void)state;
    static const struct {
        size_t n;
        uint64_t hash;
    } vectors[] = {
        {0, UINT64_C(0x726fdb47dd0e0e31)},  {1, UINT64_C(0x74f839c593dc67fd)},
        {2, UINT64_C(0x0d6c8009d9a94f5a)},  {3, UINT64_C(0x85676696d7fb7e2d)},
        {4, UINT64_C(0xcf2794e0277187b7)},  {5, UINT64_C(0x18765564cd99a68d)},
        {6, UINT64_C(0xcbc9466e58fee3ce)},  {7, UINT64_C(0xab0200f58b01d137)},
        {8, UINT64_C(0x93f5f5799a932462)},  {15, UINT64_C(0xa129ca6149be45e5)},
        {63, UINT64_C(0x958a324ceb064572)},
    };
    unsigned char input[64];
    for (size_t i = 0; i < sizeof input; i++)
        input[i] = (unsigned char)i;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++)
        assert_true(siphash(&published_key, input, vectors[i].n) == vectors[i].hash);
}

static void every_bit_of_input_and_key_matters(void **state) {
    (void)state;
    unsigned char input[24] = {0};
    uint64_t plain = siphash(&published_key, input, sizeof input);
    for (size_t bit = 0; bit < 8 * sizeof input; bit++) {
        input[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_true(siphash(&published_key, input, sizeof input) != plain);
        input[bit / 8] ^= (unsigned char)(1u << bit % 8);
    }
    for (unsigned bit = 0; bit < 128; bit++) {
        struct siphash_key other = published_key;
        if (bit < 64)
            other.k0 ^= UINT64_C(1) << bit;
        else
            other.k1 ^= UINT64_C(1) << (bit - 64);
        assert_true(siphash(&other, input, sizeof input) != plain);
    }
    /* Zeros are told apart by their number. */
    for (size_t n = 0; n < sizeof input; n++)
        assert_true(siphash(&published_key, input, n) != plain);
}

static void does_not_care_where_the_bytes_stand(void **state) {
    (void)state;
    unsigned char room[40 + 8];
    for (size_t shift = 0; shift < 8; shift++) {
        for (size_t i = 0; i < 40; i++)
            room[shift + i] = (unsigned char)i;
        assert_true(siphash(&published_key, room + shift, 8) == UINT64_C(0x93f5f5799a932462));
    }
}

static void comes_to_the_same_however_the_bytes_come(void **state) {
    (void)state;
    unsigned char bytes[67];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (unsigned char)(7 * i);
    for (size_t n = 0; n <= sizeof bytes; n++) {
        for (size_t step = 1; step <= 19; step++) {
            struct siphash_state s;
            siphash_begin(&s, &published_key);
            for (size_t at = 0; at < n; at += step)
                siphash_add(&s, bytes + at, at + step < n ? step : n - at);
            assert_true(siphash_end(s) == siphash(&published_key, bytes, n));
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_the_published_values),
        cmocka_unit_test(every_bit_of_input_and_key_matters),
        cmocka_unit_test(does_not_care_where_the_bytes_stand),
        cmocka_unit_test(comes_to_the_same_however_the_bytes_come),
    };
    return cmocka_run_group_tests_name("siphash", tests, NULL, NULL);
}
