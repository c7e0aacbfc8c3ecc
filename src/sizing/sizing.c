#include "sizing/sizing.h"

#include "base/wide.h"

/* Cached tokens are whole ones, rounded down; every other rounding is up, against the buyer of too
 * little (admission spec 7.1, and its golden trace). */
int64_t sizing_tpm_milli(const struct sizing_load *load, const struct sizing_model *m) {
    i128 cached = (i128)load->prompt_tokens * load->cached_ppm / SIZING_PPM;
    i128 billed_ppm = (i128)load->prompt_tokens * SIZING_PPM - cached * m->discount_ppm;
    i128 call_milli =
        i128_div_ceil(billed_ppm, 1000) + (i128)load->output_tokens * m->output_weight_milli;
    return i128_to_i64(i128_div_ceil(load->rpm_milli * call_milli, 1000));
}

int64_t sizing_ptus(int64_t tpm_milli, const struct sizing_model *m, int64_t target_ppm) {
    i128 ptu_ppm = (i128)m->input_tpm_per_ptu * 1000 * target_ppm;
    return i128_to_i64(i128_div_ceil((i128)tpm_milli * SIZING_PPM, ptu_ppm));
}

int64_t sizing_deployable(int64_t ptus, int64_t minimum, int64_t step) {
    assert(minimum > 0 && step > 0);
    if (ptus <= minimum)
        return minimum;
    i128 steps = i128_div_ceil((i128)ptus - minimum, step);
    return i128_to_i64(minimum + steps * step);
}
