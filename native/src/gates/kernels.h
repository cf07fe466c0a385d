/* Functions on columns of CGP_BLOCK samples, and errors of such columns, for the instruction sets at hand. */
#ifndef CGP_KERNELS_H
#define CGP_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "cgp.h"
#include "gates/functions.h"

enum { CGP_BLOCK = 256 };

/* `result` overlaps neither input; `branch` (CGP_BLOCK,) is read by multiplexers alone. */
typedef void (*cgp_kernel)(void *result, const void *a, const void *b, const uint8_t *branch);

/* Error of n <= CGP_BLOCK values; `weights` in the domain's type (int32 for int8) or NULL. Squared, else absolute. */
typedef double (*cgp_error_kernel)(const void *values, const void *targets, const void *weights, size_t n);

typedef struct {
    const cgp_kernel *functions;
    cgp_error_kernel squared, absolute;
} cgp_kernels;

typedef enum { CGP_BASELINE = 0, CGP_AVX2 = 1, CGP_AVX512 = 2 } cgp_instructions;

/* Kernels compiled for an instruction set; 0 when the processor lacks it. All give the same results. */
int cgp_kernels_at(cgp_instructions level, cgp_domain domain, cgp_kernels *kernels);

/* The widest that the processor has. */
cgp_kernels cgp_kernels_for(cgp_domain domain);

#endif
