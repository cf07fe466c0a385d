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

/* X(id, identifier, name, inputs, value, by_a, by_b, by_and, by_mul, plus, shift): the value; and the same without a branch,
 * as int8_form below. `branch` is the data set's index, reduced to the branches of a gate. The logic rests on
 * a | b = a + b - (a & b) and a ^ b = a + b - 2 (a & b). */
#define CGP_INT8_FUNCTIONS(X)                                                                               \
    X(0,  rsub127,   "rsub127",   1,              127 - a,                 -1,           0,  0, 0,  127, 0) \
    X(1,  add,       "add",       2,              a + b,                    1,           1,  0, 0,    0, 0) \
    X(2,  sub,       "sub",       2,              a - b,                    1,          -1,  0, 0,    0, 0) \
    X(3,  mul,       "mul",       2,              a * b,                    0,           0,  0, 1,    0, 0) \
    X(4,  neg,       "neg",       1,              -a,                      -1,           0,  0, 0,    0, 0) \
    X(5,  sub128,    "sub128",    1,              -128 + a,                 1,           0,  0, 0, -128, 0) \
    X(6,  shr2,      "shr2",      1,              a >> 2,                   1,           0,  0, 0,    0, 2) \
    X(7,  shr1,      "shr1",      1,              a >> 1,                   1,           0,  0, 0,    0, 1) \
    X(8,  and,       "and",       2,              a & b,                    0,           0,  1, 0,    0, 0) \
    X(9,  or,        "or",        2,              a | b,                    1,           1, -1, 0,    0, 0) \
    X(10, xor,       "xor",       2,              a ^ b,                    1,           1, -2, 0,    0, 0) \
    X(11, not,       "not",       1,              ~a,                      -1,           0,  0, 0,   -1, 0) \
    X(12, shl1,      "shl1",      1,              a * 2,                    2,           0,  0, 0,    0, 0) \
    X(13, inc,       "inc",       1,              a + 1,                    1,           0,  0, 0,    1, 0) \
    X(14, dec,       "dec",       1,              a - 1,                    1,           0,  0, 0,   -1, 0) \
    X(15, shr3,      "shr3",      1,              a >> 3,                   1,           0,  0, 0,    0, 3) \
    X(16, shr4,      "shr4",      1,              a >> 4,                   1,           0,  0, 0,    0, 4) \
    X(17, shr5,      "shr5",      1,              a >> 5,                   1,           0,  0, 0,    0, 5) \
    X(18, shl2,      "shl2",      1,              a * 4,                    4,           0,  0, 0,    0, 0) \
    X(19, shl3,      "shl3",      1,              a * 8,                    8,           0,  0, 0,    0, 0) \
    X(20, shl4,      "shl4",      1,              a * 16,                  16,           0,  0, 0,    0, 0) \
    X(21, shl5,      "shl5",      1,              a * 32,                  32,           0,  0, 0,    0, 0) \
    X(22, one,       "one",       0,              1,                        0,           0,  0, 0,    1, 0) \
    X(23, minus_one, "minus_one", 0,              -1,                       0,           0,  0, 0,   -1, 0) \
    X(24, zero,      "zero",      0,              0,                        0,           0,  0, 0,    0, 0) \
    X(25, min,       "min",       0,              -128,                     0,           0,  0, 0, -128, 0) \
    X(26, max,       "max",       0,              127,                      0,           0,  0, 0,  127, 0) \
    X(27, mux,       "mux",       CGP_ALL_INPUTS, branch ? b : a, branch == 0, branch != 0,  0, 0,    0, 0) \
    X(28, demux,     "demux",     1,              branch ? 0 : a, branch == 0,           0,  0, 0,    0, 0) \
    X(29, wire,      "wire",      1,              a,                        1,           0,  0, 0,    0, 0)

/* X(id, identifier, name, inputs, value, far): T is the type, M(f) its function f of math.h, C(x) a constant of that type;
 * `far` is the C library's function for float32 beyond FLOAT32_PERIODIC_LIMIT, which a vectorised loop leaves to be done one by
 * one, or NULL. */
#define CGP_FLOAT_FUNCTIONS(X)                                                     \
    X(0, add, "add", 2, a + b, NULL)                                               \
    X(1, sub, "sub", 2, a - b, NULL)                                               \
    X(2, mul, "mul", 2, a * b, NULL)                                               \
    X(3, div, "div", 2, b == C(0.0) ? C(1.0) : a / b, NULL)                        \
    X(4, abs, "abs", 1, M(fabs)(a), NULL)                                          \
    X(5, sqrt, "sqrt", 1, M(sqrt)(a > C(0.0) ? a : C(0.0)), NULL)                  \
    X(6, sq, "sq", 1, a * a, NULL)                                                 \
    X(7, cube, "cube", 1, a * a * a, NULL)                                         \
    X(8, pow, "pow", 2, M(pow)(a, b), NULL)                                        \
    X(9, exp, "exp", 1, M(exp)(a), NULL)                                           \
    X(10, sin, "sin", 1, M(sin)(a), sinf)                                          \
    X(11, cos, "cos", 1, M(cos)(a), cosf)                                          \
    X(12, tan, "tan", 1, M(tan)(a), tanf)                                          \
    X(13, one, "1", 0, C(1.0), NULL)                                               \
    X(14, zero, "0", 0, C(0.0), NULL)                                              \
    X(15, pi, "pi", 0, C(3.14159265358979323846), NULL)                            \
    X(16, sig, "sig", 1, C(1.0) / (C(1.0) + M(exp)(-a)), NULL)                     \
    X(17, gauss, "gauss", 1, M(exp)(C(-0.5) * a * a), NULL)                        \
    X(18, step, "step", 1, a < C(0.0) ? C(0.0) : C(1.0), NULL)                     \
    X(19, softsign, "softsign", 1, a / (C(1.0) + M(fabs)(a)), NULL)                \
    X(20, tanh, "tanh", 1, M(tanh)(a), NULL)                                       \
    X(21, and, "and", 2, a != C(0.0) && b != C(0.0) ? C(1.0) : C(0.0), NULL)       \
    X(22, nand, "nand", 2, a != C(0.0) && b != C(0.0) ? C(0.0) : C(1.0), NULL)     \
    X(23, or, "or", 2, a != C(0.0) || b != C(0.0) ? C(1.0) : C(0.0), NULL)         \
    X(24, nor, "nor", 2, a != C(0.0) || b != C(0.0) ? C(0.0) : C(1.0), NULL)       \
    X(25, xor, "xor", 2, (a != C(0.0)) != (b != C(0.0)) ? C(1.0) : C(0.0), NULL)   \
    X(26, xnor, "xnor", 2, (a != C(0.0)) == (b != C(0.0)) ? C(1.0) : C(0.0), NULL) \
    X(27, not, "not", 1, a == C(0.0) ? C(1.0) : C(0.0), NULL)                      \
    X(28, wire, "wire", 1, a, NULL)

/* ids by identifier, and their number */
#define CGP_INT8_ID(id, identifier, ...) CGP_INT8_##identifier = id,
#define CGP_FLOAT_ID(id, identifier, ...) CGP_FLOAT_##identifier = id,
#define CGP_ONE(...) +1
enum { CGP_INT8_FUNCTIONS(CGP_INT8_ID) CGP_N_INT8 = CGP_INT8_FUNCTIONS(CGP_ONE) };
enum { CGP_FLOAT_FUNCTIONS(CGP_FLOAT_ID) CGP_N_FLOAT = CGP_FLOAT_FUNCTIONS(CGP_ONE) };
enum { CGP_MAX_FUNCTIONS = 256 };

/* An int8 function without a branch: (a*by_a + b*by_b + (a & b)*by_and + a*b*by_mul + plus) >> shift. */
typedef struct {
    int32_t by_a, by_b, by_and, by_mul, plus, shift;
} int8_form;

int8_form int8_form_of(int32_t id, int32_t branch);

static inline int8_t int8_apply(const int8_form *form, int32_t a, int32_t b) {
    const int32_t sum = a * form->by_a + b * form->by_b + (a & b) * form->by_and + a * b * form->by_mul + form->plus;
    return (int8_t)(sum >> form->shift);
}

#endif
