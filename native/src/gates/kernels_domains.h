/* Included once per instruction set: the body for int8, float32 and float64. */
#define JOIN3(a, b, c) a##_##b##_##c
#define JOIN(a, b, c) JOIN3(a, b, c)

#define T int8_t
#define V int32_t
#define W int32_t
#define SUM int64_t
#define BRANCH                            \
    const int32_t branch = branches[i];   \
    (void)branch;
#define FUNCTIONS CGP_INT8_FUNCTIONS
#define REPAIR(...)
#define NAME(x) JOIN(int8, SUFFIX, x)
#include "gates/kernels_body.h"

#define T float
#define V float
#define W float
#define SUM float
#define BRANCH
#define FUNCTIONS CGP_FLOAT_FUNCTIONS
#define C(x) ((float)(x))
#define M(call) float32_##call
#define REPAIR(far)                                                        \
    float (*const beyond)(float) = far;                                    \
    if (beyond != NULL) {                                                  \
        int is_beyond = 0;                                                 \
        for (size_t i = 0; i < CGP_BLOCK; i++) {                           \
            is_beyond |= !(fabsf(first[i]) <= FLOAT32_PERIODIC_LIMIT);     \
        }                                                                  \
        for (size_t i = 0; is_beyond && i < CGP_BLOCK; i++) {              \
            if (!(fabsf(first[i]) <= FLOAT32_PERIODIC_LIMIT)) {            \
                out[i] = beyond(first[i]);                                 \
            }                                                              \
        }                                                                  \
    }
#define NAME(x) JOIN(float32, SUFFIX, x)
#include "gates/kernels_body.h"

#define T double
#define V double
#define W double
#define SUM double
#define BRANCH
#define FUNCTIONS CGP_FLOAT_FUNCTIONS
#define C(x) (x)
#define M(call) call
#define REPAIR(...)
#define NAME(x) JOIN(float64, SUFFIX, x)
#include "gates/kernels_body.h"

#undef JOIN
#undef JOIN3
