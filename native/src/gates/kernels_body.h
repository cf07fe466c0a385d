/* Included once per domain and instruction set, with T (type of a value), V (type it is computed in), W (type of weights),
 * SUM (type of a lane's sum), BRANCH (declaration of `branch`), FUNCTIONS (the table), C and M (as the table needs them),
 * REPAIR (what follows the loop, given the table's last columns), NAME(x) (what an identifier becomes) and TARGET (function
 * attribute) defined; all but TARGET are undefined at the end.
 * The trip count is a constant and lanes are written out, so that loops vectorise without relaxing floating point:
 * results are the same whatever the instruction set. */

#define KERNEL(id, identifier, name, inputs, value, ...)                                                        \
    TARGET static void NAME(kernel_##identifier)(void *result, const void *left, const void *right,             \
                                                 const uint8_t *branches) {                                     \
        T *restrict out = (T *)result;                                                                          \
        const T *first = (const T *)left;                                                                       \
        const T *second = (const T *)right;                                                                     \
        (void)first, (void)second, (void)branches;                                                              \
        for (size_t i = 0; i < CGP_BLOCK; i++) {                                                                \
            const V a = first[i];                                                                               \
            const V b = second[i];                                                                              \
            BRANCH                                                                                              \
            (void)a, (void)b;                                                                                   \
            out[i] = (T)(value);                                                                                \
        }                                                                                                       \
        REPAIR(__VA_ARGS__)                                                                                     \
    }
FUNCTIONS(KERNEL)
#undef KERNEL

#define ENTRY(id, identifier, ...) [id] = NAME(kernel_##identifier),
static const cgp_kernel NAME(table)[] = {FUNCTIONS(ENTRY)};
#undef ENTRY

#define ERROR_KERNEL(identifier, term)                                                                            \
    TARGET static double NAME(identifier)(const void *values, const void *targets, const void *weights, size_t n) { \
        enum { LANES = 32 };                                                                                      \
        const T *y = (const T *)values;                                                                           \
        const T *t = (const T *)targets;                                                                          \
        const W *w = (const W *)weights;                                                                          \
        SUM lane[LANES] = {0};                                                                                    \
        size_t i = 0;                                                                                             \
        if (w == NULL) {                                                                                          \
            for (; i + LANES <= n; i += LANES) {                                                                  \
                for (size_t j = 0; j < LANES; j++) {                                                              \
                    const SUM d = (SUM)y[i + j] - (SUM)t[i + j];                                                  \
                    lane[j] += (term);                                                                            \
                }                                                                                                 \
            }                                                                                                     \
            for (size_t j = 0; i < n; i++, j++) {                                                                 \
                const SUM d = (SUM)y[i] - (SUM)t[i];                                                              \
                lane[j] += (term);                                                                                \
            }                                                                                                     \
        } else {                                                                                                  \
            for (size_t j = 0; i < n; i++, j = (j + 1) % LANES) {                                                 \
                if (w[i] != (W)0) {                                                                               \
                    const SUM d = (SUM)y[i] - (SUM)t[i];                                                          \
                    lane[j] += (term) * (SUM)w[i];                                                                \
                }                                                                                                 \
            }                                                                                                     \
        }                                                                                                         \
        double sum = 0.0;                                                                                         \
        for (size_t j = 0; j < LANES; j++) {                                                                      \
            sum += (double)lane[j];                                                                               \
        }                                                                                                         \
        return sum;                                                                                               \
    }
ERROR_KERNEL(squared, d *d)
ERROR_KERNEL(absolute, d < (SUM)0 ? -d : d)
#undef ERROR_KERNEL

#undef T
#undef V
#undef W
#undef SUM
#undef BRANCH
#undef FUNCTIONS
#undef C
#undef M
#undef REPAIR
#undef NAME
