/* xoshiro256** 1.0 (Blackman and Vigna 2021, doi:10.1145/3460772): 256 bits of state, all of them the caller's. */
#ifndef CGP_RANDOM_H
#define CGP_RANDOM_H

#include <math.h>
#include <stdint.h>

typedef struct {
    uint64_t word[4];
} cgp_rng;

static inline uint64_t rotate_left(uint64_t value, int by) {
    return (value << by) | (value >> (64 - by));
}

static inline uint64_t random_bits(cgp_rng *rng) {
    uint64_t *s = rng->word;
    const uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    const uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rotate_left(s[3], 45);
    return result;
}

/* Uniform in [0, n), n >= 1, without bias: Lemire 2019, doi:10.1145/3230636. */
static inline uint32_t random_below(cgp_rng *rng, uint32_t n) {
    uint64_t product = (random_bits(rng) >> 32) * n;
    if ((uint32_t)product < n) {
        const uint32_t least = (0u - n) % n;
        while ((uint32_t)product < least) {
            product = (random_bits(rng) >> 32) * n;
        }
    }
    return (uint32_t)(product >> 32);
}

/* Uniform in [0, 1), 53 bits. */
static inline double random_unit(cgp_rng *rng) {
    return (double)(random_bits(rng) >> 11) * 0x1.0p-53;
}

/* Misses before the next hit, each trial hitting with probability 1 - exp(log_miss). */
static inline double geometric_skip(cgp_rng *rng, double log_miss) {
    return log_miss < 0.0 ? floor(log(1.0 - random_unit(rng)) / log_miss) : INFINITY;
}

#endif
