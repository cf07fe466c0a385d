/* Functions, problems and evaluation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cgp.h"
#include "check.h"
#include "gates/functions.h"
#include "gates/kernels.h"

enum { N_SAMPLES = 700 };

static const cgp_grid GRID = {3, 2, 3, 4, 2, 2, 0.0};

static void test_forms_equal_functions_on_all_pairs(void) {
    int n_wrong = 0;
    for (int32_t id = 0; id < CGP_N_INT8; id++) {
        for (int32_t branch = 0; branch < 2; branch++) {
            const int8_form form = int8_form_of(id, branch);
            for (int32_t a = -128; a < 128; a++) {
                for (int32_t b = -128; b < 128; b++) {
                    n_wrong += int8_apply(&form, a, b) != (int8_t)cgp_function_value(CGP_INT8, id, a, b, branch);
                }
            }
        }
    }
    CHECK(n_wrong == 0);
}

static void test_function_table(void) {
    CHECK(cgp_n_functions(CGP_INT8) == CGP_N_INT8 && cgp_n_functions(CGP_FLOAT32) == CGP_N_FLOAT);
    CHECK(strcmp(cgp_function_name(CGP_INT8, 3), "mul") == 0);
    CHECK(cgp_function_name(CGP_INT8, CGP_N_INT8) == NULL && cgp_function_name(CGP_FLOAT32, -1) == NULL);
    CHECK(cgp_function_id(CGP_FLOAT64, "tanh") == 20 && cgp_function_id(CGP_FLOAT64, "nothing") == -1);
    CHECK(cgp_function_arity(CGP_INT8, 27) == -1 && cgp_function_arity(CGP_INT8, 22) == 0);
    CHECK(cgp_function_arity(CGP_INT8, 99) == -2);
    CHECK(isnan(cgp_function_value(CGP_FLOAT64, 99, 0.0, 0.0, 0)));
    CHECK(cgp_function_value(CGP_FLOAT64, 3, 2.0, 0.0, 0) == 1.0);
    for (int status = CGP_OK; status <= CGP_WRONG_ORDER + 1; status++) {
        CHECK(strlen(cgp_status_text((cgp_status)status)) > 5);
    }
}

static void test_bad_problems_are_refused(void) {
    const int32_t ids[2] = {1, 3}, unknown[1] = {77};
    const double costs[2] = {1.0, 2.0}, negative[2] = {1.0, -2.0}, infinite[2] = {INFINITY, 1.0};
    const cgp_function_set set = {CGP_INT8, 2, ids, costs, costs, costs};
    cgp_function_set bad_set = set;
    cgp_problem *problem = NULL;
    const cgp_grid bad_grids[] = {{0, 1, 1, 1, 1, 2, 0}, {1, 0, 1, 1, 1, 2, 0}, {1, 1, 0, 1, 1, 2, 0}, {1, 1, 1, 0, 1, 2, 0},
                                  {1, 1, 1, 1, 0, 2, 0}, {1, 1, 1, 1, 1, 0, 0}, {1, 1, 1, 1, 1, 2, 2}, {1, 1, 1, 1, 1, 2, NAN},
                                  {1, 1, 2000000000, 2000000000, 1, 2, 0}};
    for (size_t i = 0; i < sizeof bad_grids / sizeof *bad_grids; i++) {
        CHECK(cgp_problem_new(&bad_grids[i], &set, NULL, &problem) == CGP_BAD_GRID && problem == NULL);
    }
    bad_set.n_functions = 0;
    CHECK(cgp_problem_new(&GRID, &bad_set, NULL, &problem) == CGP_BAD_FUNCTION);
    bad_set = (cgp_function_set){CGP_INT8, 1, unknown, costs, costs, costs};
    CHECK(cgp_problem_new(&GRID, &bad_set, NULL, &problem) == CGP_BAD_FUNCTION);
    const cgp_grid unary = {1, 1, 1, 1, 1, 1, 0.0};
    CHECK(cgp_problem_new(&unary, &set, NULL, &problem) == CGP_BAD_FUNCTION);
    bad_set = (cgp_function_set){CGP_INT8, 2, ids, negative, costs, costs};
    CHECK(cgp_problem_new(&GRID, &bad_set, NULL, &problem) == CGP_BAD_COST);
    bad_set = (cgp_function_set){CGP_INT8, 2, ids, costs, costs, infinite};
    CHECK(cgp_problem_new(&GRID, &bad_set, NULL, &problem) == CGP_BAD_COST);
    const int8_t values[6] = {0};
    const size_t starts[3] = {0, 2, 1}, one[2] = {0, 1};
    const double half[2] = {0.5, 1.0}, below[2] = {1.0, -1.0};
    const cgp_data bad_data[] = {{0, 1, one, values, values, NULL, CGP_SE},   {1, 2, starts, values, values, NULL, CGP_SE},
                                 {1, 1, one, NULL, values, NULL, CGP_SE},     {1, 1, one, values, NULL, NULL, CGP_SE},
                                 {1, 1, one, values, values, half, CGP_SE},   {1, 1, one, values, values, below, CGP_SE},
                                 {1, 1, one, values, values, NULL, (cgp_error)9}};
    for (size_t i = 0; i < sizeof bad_data / sizeof *bad_data; i++) {
        CHECK(cgp_problem_new(&GRID, &set, &bad_data[i], &problem) == CGP_BAD_DATA && problem == NULL);
    }
}

/* Value of a pin by recursion, straight from the definition. */
static double plain(const int32_t *genes, const int32_t *ids, cgp_domain domain, const double *inputs, int32_t pin) {
    if (pin < GRID.n_inputs) {
        return inputs[pin];
    }
    const int32_t *gene = genes + (size_t)(pin - GRID.n_inputs) * 3;
    const double a = plain(genes, ids, domain, inputs, gene[0]), b = plain(genes, ids, domain, inputs, gene[1]);
    return cgp_function_value(domain, ids[gene[2]], a, b, 0);
}

static void test_outputs_and_errors_equal_the_definition(cgp_domain domain, size_t n_samples, int is_weighted) {
    const int32_t ids[5] = {0, 1, 2, 3, 9};
    const double costs[5] = {0.5, 1.0, 1.0, 3.0, 0.25};
    const cgp_function_set set = {domain, 5, ids, costs, costs, costs};
    const size_t size = domain == CGP_INT8 ? 1 : domain == CGP_FLOAT32 ? 4 : 8, starts[2] = {0, n_samples};
    uint64_t rng[4] = {1, 2, 3, 4};
    double *inputs = calloc(N_SAMPLES * 3, sizeof *inputs), *weights = calloc(N_SAMPLES * 2, sizeof *weights);
    char *values = calloc(N_SAMPLES * 3, size), *targets = calloc(N_SAMPLES * 2, size), *found = calloc(N_SAMPLES * 2, size);
    for (size_t i = 0; i < N_SAMPLES * 3; i++) {
        inputs[i] = domain == CGP_INT8 ? (double)((int)(i * 37 % 256) - 128) : (double)(i % 19) / 7.0 - 1.0;
        if (domain == CGP_INT8) {
            ((int8_t *)values)[i] = (int8_t)inputs[i];
        } else if (domain == CGP_FLOAT32) {
            ((float *)values)[i] = (float)inputs[i];
            inputs[i] = (double)((float *)values)[i];
        } else {
            ((double *)values)[i] = inputs[i];
        }
    }
    for (size_t i = 0; i < N_SAMPLES * 2; i++) {
        weights[i] = (double)(i % 3);
    }
    const cgp_data data = {n_samples, 1, starts, values, targets, is_weighted ? weights : NULL, CGP_SE};
    cgp_problem *problem = NULL;
    CHECK(cgp_problem_new(&GRID, &set, &data, &problem) == CGP_OK);
    CHECK(cgp_problem_n_genes(problem) == 38);
    int32_t genes[38], lower[38], upper[38];
    cgp_bounds(problem, lower, upper);
    for (int round = 0; round < 20; round++) {
        cgp_score score;
        CHECK(cgp_random(problem, 1, rng, genes) == CGP_OK);
        for (size_t i = 0; i < 38; i++) {
            CHECK(genes[i] >= lower[i] && genes[i] <= upper[i]);
        }
        CHECK(cgp_first_bad_gene(problem, genes) == 38);
        CHECK(cgp_outputs(problem, 1, genes, n_samples, 1, starts, values, found) == CGP_OK);
        CHECK(cgp_evaluate(problem, 1, genes, &score) == CGP_OK);
        double sum = 0.0;
        int n_wrong = 0;
        for (size_t s = 0; s < n_samples; s++) {
            for (size_t o = 0; o < 2; o++) {
                const double expected = plain(genes, ids, domain, inputs + s * 3, genes[36 + o]);
                const size_t at = s * 2 + o;
                const double got = domain == CGP_INT8      ? (double)((int8_t *)found)[at]
                                   : domain == CGP_FLOAT32 ? (double)((float *)found)[at]
                                                           : ((double *)found)[at];
                n_wrong += !(fabs(got - expected) <= 1e-5 * fabs(expected) || (isnan(got) && isnan(expected)) ||
                             (isinf(got) && isinf(expected)));
                sum += expected * expected * (is_weighted ? weights[at] : 1.0);
            }
        }
        CHECK(n_wrong == 0);
        CHECK(fabs(score.error - sum) <= 1e-4 * sum || !(sum < 1e30));
        const int32_t kept = genes[5];
        genes[5] = 5;
        CHECK(cgp_first_bad_gene(problem, genes) == 5 && cgp_evaluate(problem, 1, genes, &score) == CGP_BAD_GENE);
        genes[5] = kept;
    }
    cgp_problem_free(problem);
    free(inputs), free(weights), free(values), free(targets), free(found);
}

/* Columns of numbers, infinities, not-a-numbers and subnormals: the same bits whatever the instruction set. */
static void test_instruction_sets_agree(cgp_domain domain) {
    const size_t size = domain == CGP_INT8 ? 1 : domain == CGP_FLOAT32 ? 4 : 8;
    const double special[] = {0.0, -0.0, INFINITY, -INFINITY, NAN, 1e-310, 1e-40, 1e300, -1.0, 3.5};
    _Alignas(64) char a[CGP_BLOCK * 8], b[CGP_BLOCK * 8], one[CGP_BLOCK * 8], two[CGP_BLOCK * 8];
    int32_t whole[CGP_BLOCK];
    float single[CGP_BLOCK];
    double pair[CGP_BLOCK];
    uint8_t branch[CGP_BLOCK];
    for (size_t i = 0; i < CGP_BLOCK; i++) {
        const double x = i < 100 ? special[i / 10] : (double)(i * 7919 % 513) / 100.0 - 2.0, y = i < 100 ? special[i % 10] : x * 3.0 - 1.0;
        branch[i] = (uint8_t)(i % 2);
        whole[i] = (int32_t)(i % 5);
        single[i] = (float)whole[i] * 0.25f;
        pair[i] = (double)whole[i] * 0.25;
        if (domain == CGP_INT8) {
            a[i] = (char)(i * 37), b[i] = (char)(i * 101 + 5);
        } else if (domain == CGP_FLOAT32) {
            ((float *)(void *)a)[i] = (float)x, ((float *)(void *)b)[i] = (float)y;
        } else {
            ((double *)(void *)a)[i] = x, ((double *)(void *)b)[i] = y;
        }
    }
    const void *weights = domain == CGP_INT8 ? (const void *)whole : domain == CGP_FLOAT32 ? (const void *)single : (const void *)pair;
    cgp_kernels base, wide;
    CHECK(cgp_kernels_at(CGP_BASELINE, domain, &base));
    for (int level = CGP_AVX2; level <= CGP_AVX512; level++) {
        if (!cgp_kernels_at((cgp_instructions)level, domain, &wide)) {
            printf("this processor lacks instruction set %d: not compared\n", level);
            continue;
        }
        for (int32_t id = 0; id < cgp_n_functions(domain); id++) {
            base.functions[id](one, a, b, branch);
            wide.functions[id](two, a, b, branch);
            int n_wrong = 0;
            for (size_t i = 0; i < CGP_BLOCK; i++) {
                /* the sign and payload of a not-a-number are nobody's concern */
                const int is_nan = domain == CGP_FLOAT32   ? isnan(((float *)(void *)one)[i]) && isnan(((float *)(void *)two)[i])
                                   : domain == CGP_FLOAT64 ? isnan(((double *)(void *)one)[i]) && isnan(((double *)(void *)two)[i])
                                                           : 0;
                n_wrong += !is_nan && memcmp(one + i * size, two + i * size, size) != 0;
            }
            CHECK(n_wrong == 0);
        }
        const size_t first = domain == CGP_INT8 ? 0 : 100; /* numbers */
        for (size_t n = 1; n <= CGP_BLOCK - first; n += 31) {
            const char *x = a + first * size, *y = b + first * size;
            CHECK(base.squared(x, y, NULL, n) == wide.squared(x, y, NULL, n));
            CHECK(base.absolute(x, y, NULL, n) == wide.absolute(x, y, NULL, n));
            CHECK(base.squared(x, y, weights, n) == wide.squared(x, y, weights, n));
        }
    }
}

static void test_costs_and_active_gates(void) {
    const int32_t ids[3] = {1, 3, 29};
    const double energy[3] = {1.0, 10.0, 0.0}, area[3] = {2.0, 20.0, 0.0}, delay[3] = {3.0, 5.0, 0.0};
    const cgp_function_set set = {CGP_INT8, 3, ids, energy, area, delay};
    const cgp_grid grid = {1, 1, 1, 4, 5, 2, 0.0};
    const int8_t input[1] = {3}, target[1] = {12};
    const size_t starts[2] = {0, 1};
    const cgp_data data = {1, 1, starts, input, target, NULL, CGP_AE};
    /* gate 0: x + x; gate 1: wire of it; gate 2: not read; gate 3: gate 1 times x */
    const int32_t genes[13] = {0, 0, 0, 1, 0, 2, 0, 0, 1, 2, 0, 1, 4};
    cgp_problem *problem = NULL;
    cgp_score score;
    uint8_t is_active[4];
    CHECK(cgp_problem_new(&grid, &set, &data, &problem) == CGP_OK);
    CHECK(cgp_evaluate(problem, 1, genes, &score) == CGP_OK);
    CHECK(score.error == 6.0 && score.energy_pj == 11.0 && score.area == 22.0 && score.delay == 8.0);
    CHECK(score.n_gates == 2 && score.depth == 2);
    CHECK(cgp_active(problem, genes, is_active) == CGP_OK);
    CHECK(is_active[0] && is_active[1] && !is_active[2] && is_active[3]);
    cgp_problem_free(problem);
    CHECK(cgp_problem_new(&grid, &set, NULL, &problem) == CGP_OK);
    CHECK(cgp_evaluate(problem, 1, genes, &score) == CGP_NO_DATA);
    cgp_problem_free(problem);
    cgp_problem_free(NULL);
}

int main(void) {
    test_forms_equal_functions_on_all_pairs();
    test_function_table();
    test_bad_problems_are_refused();
    const size_t sizes[] = {1, 8, 9, 255, 256, 257, N_SAMPLES};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        for (int is_weighted = 0; is_weighted < 2; is_weighted++) {
            test_outputs_and_errors_equal_the_definition(CGP_INT8, sizes[i], is_weighted);
            test_outputs_and_errors_equal_the_definition(CGP_FLOAT32, sizes[i], is_weighted);
            test_outputs_and_errors_equal_the_definition(CGP_FLOAT64, sizes[i], is_weighted);
        }
    }
    test_instruction_sets_agree(CGP_INT8);
    test_instruction_sets_agree(CGP_FLOAT32);
    test_instruction_sets_agree(CGP_FLOAT64);
    test_costs_and_active_gates();
    return report("values");
}
