/* The function table: names, inputs, values on one pair. */
#include "gates/functions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gates/elementary.h"

typedef struct {
    const char *name;
    int32_t inputs;
} function_row;

#define ROW(id, identifier, name, inputs, ...) [id] = {name, inputs},

static const function_row int8_rows[CGP_N_INT8] = {CGP_INT8_FUNCTIONS(ROW)};
static const function_row float_rows[CGP_N_FLOAT] = {CGP_FLOAT_FUNCTIONS(ROW)};

static const function_row *row_of(cgp_domain domain, int32_t id) {
    if (id < 0 || id >= cgp_n_functions(domain)) {
        return NULL;
    }
    return domain == CGP_INT8 ? &int8_rows[id] : &float_rows[id];
}

int32_t cgp_n_functions(cgp_domain domain) {
    return domain == CGP_INT8 ? CGP_N_INT8 : CGP_N_FLOAT;
}

const char *cgp_function_name(cgp_domain domain, int32_t id) {
    const function_row *row = row_of(domain, id);
    return row == NULL ? NULL : row->name;
}

int32_t cgp_function_arity(cgp_domain domain, int32_t id) {
    const function_row *row = row_of(domain, id);
    return row == NULL ? -2 : row->inputs;
}

int32_t cgp_function_id(cgp_domain domain, const char *name) {
    for (int32_t id = 0; id < cgp_n_functions(domain); id++) {
        if (strcmp(name, row_of(domain, id)->name) == 0) {
            return id;
        }
    }
    return -1;
}

int8_form int8_form_of(int32_t id, int32_t branch) {
    switch (id) {
#define CASE(id, identifier, name, inputs, value, ...) \
    case id: return (int8_form){__VA_ARGS__};
        CGP_INT8_FUNCTIONS(CASE)
#undef CASE
        default: return (int8_form){0, 0, 0, 0, 0, 0};
    }
}

static double int8_value(int32_t id, int32_t a, int32_t b, int32_t branch) {
    int32_t result = 0;
    switch (id) {
#define CASE(id, identifier, name, inputs, value, ...) \
    case id: result = (value); break;
        CGP_INT8_FUNCTIONS(CASE)
#undef CASE
        default: break;
    }
    return (double)(int8_t)result;
}

static double float64_value(int32_t id, double a, double b) {
#define C(x) (x)
#define M(call) call
#define CASE(id, identifier, name, inputs, value, far) \
    case id: return value;
    switch (id) {
        CGP_FLOAT_FUNCTIONS(CASE)
        default: return NAN;
    }
#undef C
#undef M
#undef CASE
}

static float float32_value(int32_t id, float a, float b) {
    float (*beyond)(float) = NULL;
#define C(x) ((float)(x))
#define M(call) float32_##call
#define CASE(id, identifier, name, inputs, value, far)                  \
    case id:                                                            \
        beyond = far;                                                   \
        if (beyond != NULL && !(fabsf(a) <= FLOAT32_PERIODIC_LIMIT)) {  \
            return beyond(a);                                           \
        }                                                               \
        return value;
    switch (id) {
        CGP_FLOAT_FUNCTIONS(CASE)
        default: return NAN;
    }
#undef C
#undef M
#undef CASE
}

double cgp_function_value(cgp_domain domain, int32_t id, double a, double b, int32_t set) {
    if (row_of(domain, id) == NULL) {
        return NAN;
    }
    switch (domain) {
        case CGP_INT8: return int8_value(id, (int8_t)a, (int8_t)b, set % 2);
        case CGP_FLOAT32: return (double)float32_value(id, (float)a, (float)b);
        case CGP_FLOAT64: return float64_value(id, a, b);
        default: return NAN;
    }
}
