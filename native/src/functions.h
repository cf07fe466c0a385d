/* The functions that gates compute, each written once.
 *
 * int8: two's complement, wrap-around; right shifts are arithmetic. `a` and `b` are int32, the value is wrapped.
 * float: names as in Turner and Miller's CGP-Library, doi:10.1007/s10710-014-9233-1. Here div is 1 where its divisor
 * is 0, sqrt is 0 below 0, and neuron functions read one input. Logic takes 0 as false and all else as true. */
#ifndef CGP_FUNCTIONS_H
#define CGP_FUNCTIONS_H

#include <stdint.h>

#include "cgp.h"

#define CGP_ALL_INPUTS (-1)
#define CGP_INT8_MUX 27
#define CGP_INT8_DEMUX 28
#define CGP_INT8_WIRE 29
#define CGP_FLOAT_WIRE 28

/* X(id, identifier, name, inputs, value); `branch` is the data set's index, reduced to the branches of a gate */
#define CGP_INT8_FUNCTIONS(X)                            \
    X(0, rsub127, "rsub127", 1, 127 - a)                 \
    X(1, add, "add", 2, a + b)                           \
    X(2, sub, "sub", 2, a - b)                           \
    X(3, mul, "mul", 2, a * b)                           \
    X(4, neg, "neg", 1, -a)                              \
    X(5, sub128, "sub128", 1, -128 + a)                  \
    X(6, shr2, "shr2", 1, a >> 2)                        \
    X(7, shr1, "shr1", 1, a >> 1)                        \
    X(8, and, "and", 2, a & b)                           \
    X(9, or, "or", 2, a | b)                             \
    X(10, xor, "xor", 2, a ^ b)                          \
    X(11, not, "not", 1, ~a)                             \
    X(12, shl1, "shl1", 1, a * 2)                        \
    X(13, inc, "inc", 1, a + 1)                          \
    X(14, dec, "dec", 1, a - 1)                          \
    X(15, shr3, "shr3", 1, a >> 3)                       \
    X(16, shr4, "shr4", 1, a >> 4)                       \
    X(17, shr5, "shr5", 1, a >> 5)                       \
    X(18, shl2, "shl2", 1, a * 4)                        \
    X(19, shl3, "shl3", 1, a * 8)                        \
    X(20, shl4, "shl4", 1, a * 16)                       \
    X(21, shl5, "shl5", 1, a * 32)                       \
    X(22, one, "one", 0, 1)                              \
    X(23, minus_one, "minus_one", 0, -1)                 \
    X(24, zero, "zero", 0, 0)                            \
    X(25, min, "min", 0, -128)                           \
    X(26, max, "max", 0, 127)                            \
    X(27, mux, "mux", CGP_ALL_INPUTS, branch ? b : a)    \
    X(28, demux, "demux", 1, branch ? 0 : a)             \
    X(29, wire, "wire", 1, a)

/* T is the type, M(f) its function f of math.h, C(x) a constant of that type */
#define CGP_FLOAT_FUNCTIONS(X)                                              \
    X(0, add, "add", 2, a + b)                                              \
    X(1, sub, "sub", 2, a - b)                                              \
    X(2, mul, "mul", 2, a * b)                                              \
    X(3, div, "div", 2, b == C(0.0) ? C(1.0) : a / b)                       \
    X(4, abs, "abs", 1, M(fabs)(a))                                         \
    X(5, sqrt, "sqrt", 1, M(sqrt)(a > C(0.0) ? a : C(0.0)))                 \
    X(6, sq, "sq", 1, a * a)                                                \
    X(7, cube, "cube", 1, a * a * a)                                        \
    X(8, pow, "pow", 2, M(pow)(a, b))                                       \
    X(9, exp, "exp", 1, M(exp)(a))                                          \
    X(10, sin, "sin", 1, M(sin)(a))                                         \
    X(11, cos, "cos", 1, M(cos)(a))                                         \
    X(12, tan, "tan", 1, M(tan)(a))                                         \
    X(13, one, "1", 0, C(1.0))                                              \
    X(14, zero, "0", 0, C(0.0))                                             \
    X(15, pi, "pi", 0, C(3.14159265358979323846))                           \
    X(16, sig, "sig", 1, C(1.0) / (C(1.0) + M(exp)(-a)))                    \
    X(17, gauss, "gauss", 1, M(exp)(C(-0.5) * a * a))                       \
    X(18, step, "step", 1, a < C(0.0) ? C(0.0) : C(1.0))                    \
    X(19, softsign, "softsign", 1, a / (C(1.0) + M(fabs)(a)))               \
    X(20, tanh, "tanh", 1, M(tanh)(a))                                      \
    X(21, and, "and", 2, a != C(0.0) && b != C(0.0) ? C(1.0) : C(0.0))      \
    X(22, nand, "nand", 2, a != C(0.0) && b != C(0.0) ? C(0.0) : C(1.0))    \
    X(23, or, "or", 2, a != C(0.0) || b != C(0.0) ? C(1.0) : C(0.0))        \
    X(24, nor, "nor", 2, a != C(0.0) || b != C(0.0) ? C(0.0) : C(1.0))      \
    X(25, xor, "xor", 2, (a != C(0.0)) != (b != C(0.0)) ? C(1.0) : C(0.0))  \
    X(26, xnor, "xnor", 2, (a != C(0.0)) == (b != C(0.0)) ? C(1.0) : C(0.0)) \
    X(27, not, "not", 1, a == C(0.0) ? C(1.0) : C(0.0))                     \
    X(28, wire, "wire", 1, a)

/* sin, cos and tan, by the C library: what a vectorised loop leaves to be done one by one */
#define CGP_IS_PERIODIC(id) ((id) >= 10 && (id) <= 12)
#define CGP_PERIODIC(id, x) ((id) == 10 ? sinf(x) : (id) == 11 ? cosf(x) : tanf(x))

enum { CGP_N_INT8 = 30, CGP_N_FLOAT = 29, CGP_MAX_FUNCTIONS = 256 };

/* The int8 functions without a branch: (a*by_a + b*by_b + (a & b)*by_and + a*b*by_mul + plus) >> shift. The logic
 * rests on a | b = a + b - (a & b) and a ^ b = a + b - 2 (a & b). */
typedef struct {
    int32_t by_a, by_b, by_and, by_mul, plus, shift;
} int8_form;

int8_form int8_form_of(int32_t id, int32_t branch);

static inline int8_t int8_apply(const int8_form *form, int32_t a, int32_t b) {
    const int32_t sum = a * form->by_a + b * form->by_b + (a & b) * form->by_and + a * b * form->by_mul + form->plus;
    return (int8_t)(sum >> form->shift);
}

#endif
