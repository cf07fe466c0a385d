/* The function table: names, inputs, values on one pair. */
#include "functions.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "elementary.h"

typedef struct {
    const char *name;
    int32_t inputs;
} function_row;

#define ROW(id, identifier, name, inputs, value) [id] = {name, inputs},

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
    int8_form form = {0, 0, 0, 0, 0, 0};
    switch (id) {
        case 0: form.by_a = -1, form.plus = 127; break;
        case 1: form.by_a = 1, form.by_b = 1; break;
        case 2: form.by_a = 1, form.by_b = -1; break;
        case 3: form.by_mul = 1; break;
        case 4: form.by_a = -1; break;
        case 5: form.by_a = 1, form.plus = -128; break;
        case 6: form.by_a = 1, form.shift = 2; break;
        case 7: form.by_a = 1, form.shift = 1; break;
        case 8: form.by_and = 1; break;
        case 9: form.by_a = 1, form.by_b = 1, form.by_and = -1; break;
        case 10: form.by_a = 1, form.by_b = 1, form.by_and = -2; break;
        case 11: form.by_a = -1, form.plus = -1; break;
        case 12: form.by_a = 2; break;
        case 13: form.by_a = 1, form.plus = 1; break;
        case 14: form.by_a = 1, form.plus = -1; break;
        case 15: form.by_a = 1, form.shift = 3; break;
        case 16: form.by_a = 1, form.shift = 4; break;
        case 17: form.by_a = 1, form.shift = 5; break;
        case 18: form.by_a = 4; break;
        case 19: form.by_a = 8; break;
        case 20: form.by_a = 16; break;
        case 21: form.by_a = 32; break;
        case 22: form.plus = 1; break;
        case 23: form.plus = -1; break;
        case 24: break;
        case 25: form.plus = -128; break;
        case 26: form.plus = 127; break;
        case CGP_INT8_MUX: form.by_a = branch == 0, form.by_b = branch != 0; break;
        case CGP_INT8_DEMUX: form.by_a = branch == 0; break;
        default: form.by_a = 1; break; /* wire */
    }
    return form;
}

static double int8_value(int32_t id, int32_t a, int32_t b, int32_t branch) {
    int32_t result = 0;
    switch (id) {
#define CASE(id, identifier, name, inputs, value) \
    case id: result = (value); break;
        CGP_INT8_FUNCTIONS(CASE)
#undef CASE
        default: break;
    }
    return (double)(int8_t)result;
}

#define CASE(id, identifier, name, inputs, value) \
    case id: return value;

static double float64_value(int32_t id, double a, double b) {
#define C(x) (x)
#define M(call) call
    switch (id) {
        CGP_FLOAT_FUNCTIONS(CASE)
        default: return NAN;
    }
#undef C
#undef M
}

static float float32_value(int32_t id, float a, float b) {
    if (CGP_IS_PERIODIC(id) && !(fabsf(a) <= FLOAT32_PERIODIC_LIMIT)) {
        return CGP_PERIODIC(id, a);
    }
#define C(x) ((float)(x))
#define M(call) float32_##call
    switch (id) {
        CGP_FLOAT_FUNCTIONS(CASE)
        default: return NAN;
    }
#undef C
#undef M
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
