/* Columns for three domains, compiled for what a processor may have; chosen when a problem is made. */
#include "gates/kernels.h"

#include <math.h>

#include "gates/elementary.h"


#if defined(__x86_64__) && defined(__GNUC__)
#define CGP_HAS_X86 1
#endif

/* ---- baseline ---- */
#define TARGET
#define SUFFIX baseline
#include "gates/kernels_domains.h"
#undef TARGET
#undef SUFFIX

#ifdef CGP_HAS_X86
#define TARGET __attribute__((target("avx2")))
#define SUFFIX avx2
#include "gates/kernels_domains.h"
#undef TARGET
#undef SUFFIX

#ifdef __clang__
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq")))
#else
#define TARGET __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,prefer-vector-width=512")))
#endif
#define SUFFIX avx512
#include "gates/kernels_domains.h"
#undef TARGET
#undef SUFFIX
#endif

#define KERNELS(suffix, domain) \
    (cgp_kernels) { domain##_##suffix##_table, domain##_##suffix##_squared, domain##_##suffix##_absolute }

#define PICK(suffix)                                     \
    (domain == CGP_INT8      ? KERNELS(suffix, int8)     \
     : domain == CGP_FLOAT32 ? KERNELS(suffix, float32)  \
                             : KERNELS(suffix, float64))

int cgp_kernels_at(cgp_instructions level, cgp_domain domain, cgp_kernels *kernels) {
#ifdef CGP_HAS_X86
    if (level == CGP_AVX512) {
        *kernels = PICK(avx512);
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    }
    if (level == CGP_AVX2) {
        *kernels = PICK(avx2);
        return __builtin_cpu_supports("avx2") != 0;
    }
#endif
    *kernels = PICK(baseline);
    return level == CGP_BASELINE;
}

cgp_kernels cgp_kernels_for(cgp_domain domain) {
    cgp_kernels kernels;
    if (!cgp_kernels_at(CGP_AVX512, domain, &kernels) && !cgp_kernels_at(CGP_AVX2, domain, &kernels)) {
        cgp_kernels_at(CGP_BASELINE, domain, &kernels);
    }
    return kernels;
}
