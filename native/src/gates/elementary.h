/* Elementary functions of float32 that vectorise: computed in double without a branch, so that the rounding to float32
 * is all but the only error, and the same on every processor.
 *
 * Reduction of the argument by Cody and Waite (Software Manual for the Elementary Functions, 1980), Taylor series on what
 * is left; rounding to a whole number by adding 1.5 * 2^52. sin, cos and tan hold for arguments up to
 * FLOAT32_PERIODIC_LIMIT, beyond which the caller asks the C library. */
#ifndef CGP_ELEMENTARY_H
#define CGP_ELEMENTARY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define FLOAT32_PERIODIC_LIMIT 1e6f
#define WHOLE 0x1.8p52

static inline uint64_t bits_of(double x) {
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double double_of(uint64_t bits) {
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* exp of -110 .. 100, to which the argument is cut: float32 knows nothing beyond. */
static inline double exp_of_double(double x) {
    x = x > 100.0 ? 100.0 : x;
    x = x < -110.0 ? -110.0 : x;
    const double shifted = x * 0x1.71547652b82fep0 + WHOLE; /* x / ln 2 */
    const double k = shifted - WHOLE;
    const double r = x - k * 0x1.62e42feep-1 - k * 0x1.a39ef35793c76p-33; /* ln 2 in two parts */
    double p = 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    return p * double_of((bits_of(shifted) << 52) + UINT64_C(0x3ff0000000000000));
}

typedef struct {
    double sin, cos; /* of the rest in -pi/4 .. pi/4 */
    uint64_t quarter; /* its two lowest bits: quarter turns taken off */
} quarter_turn;

static inline quarter_turn turn_of_double(double x) {
    const double shifted = x * 0x1.45f306dc9c883p-1 + WHOLE; /* x / (pi / 2) */
    const double k = shifted - WHOLE;
    const double r = x - k * 0x1.921fb544p0 - k * 0x1.0b4611a626331p-34; /* pi / 2 in two parts */
    const double z = r * r;
    double s = 1.0 / 6227020800.0, c = 1.0 / 479001600.0;
    s = s * z - 1.0 / 39916800.0;
    s = s * z + 1.0 / 362880.0;
    s = s * z - 1.0 / 5040.0;
    s = s * z + 1.0 / 120.0;
    s = s * z - 1.0 / 6.0;
    c = c * z - 1.0 / 3628800.0;
    c = c * z + 1.0 / 40320.0;
    c = c * z - 1.0 / 720.0;
    c = c * z + 1.0 / 24.0;
    c = c * z - 0.5;
    const quarter_turn turn = {r * (1.0 + z * s), 1.0 + z * c, bits_of(shifted)};
    return turn;
}

static inline double sin_of_turn(quarter_turn turn, uint64_t quarters) {
    const uint64_t quarter = turn.quarter + quarters;
    const double value = (quarter & 1) != 0 ? turn.cos : turn.sin;
    return double_of(bits_of(value) ^ (quarter & 2) << 62);
}

static inline float float32_exp(float x) {
    return (float)exp_of_double((double)x);
}

static inline float float32_sin(float x) {
    return (float)sin_of_turn(turn_of_double((double)x), 0);
}

static inline float float32_cos(float x) {
    return (float)sin_of_turn(turn_of_double((double)x), 1);
}

static inline float float32_tan(float x) {
    const quarter_turn turn = turn_of_double((double)x);
    return (float)(sin_of_turn(turn, 0) / sin_of_turn(turn, 1));
}

static inline float float32_tanh(float x) {
    const double y = fabs((double)x), cut = y > 20.0 ? 20.0 : y;
    const double far = 1.0 - 2.0 / (exp_of_double(2.0 * cut) + 1.0), near = y - y * y * y / 3.0;
    return (float)copysign(y < 1e-3 ? near : far, (double)x);
}

static inline float float32_pow(float x, float y) {
    return powf(x, y);
}

static inline float float32_fabs(float x) {
    return fabsf(x);
}

static inline float float32_sqrt(float x) {
    return sqrtf(x);
}

#endif
