/* Symbolic regression: x^2 + x from 200 samples, by (1 + 4) with 60 gates.
 *
 *     make example */
#include <math.h>
#include <stdio.h>

#include "cgp.h"

enum { N_SAMPLES = 200, N_GATES = 60 };

int main(void) {
    const char *names[] = {"add", "sub", "mul", "div"};
    int32_t ids[4];
    const double costs[4] = {1.0, 1.0, 1.0, 1.0};
    for (int i = 0; i < 4; i++) {
        ids[i] = cgp_function_id(CGP_FLOAT64, names[i]);
    }
    double inputs[N_SAMPLES], targets[N_SAMPLES];
    for (int i = 0; i < N_SAMPLES; i++) {
        inputs[i] = -1.0 + 2.0 * i / (N_SAMPLES - 1);
        targets[i] = inputs[i] * inputs[i] + inputs[i];
    }
    const size_t set_start[2] = {0, N_SAMPLES};
    const cgp_grid grid = {.n_inputs = 1, .n_outputs = 1, .rows = 1, .cols = N_GATES, .levels_back = N_GATES + 1, .arity = 2};
    const cgp_function_set functions = {CGP_FLOAT64, 4, ids, costs, costs, costs};
    const cgp_data data = {N_SAMPLES, 1, set_start, inputs, targets, NULL, CGP_SE};
    const cgp_settings settings = {.n_parents = 1, .n_offspring = 4, .is_plus = 1, .mutation = CGP_PROBABILISTIC, .rate = 0.05,
                                   .threshold = 1e-9, .is_drifting = 1};
    const uint64_t rng[4] = {1, 2, 3, 4};
    cgp_problem *problem = NULL;
    cgp_strategy *strategy = NULL;
    cgp_status status = cgp_problem_new(&grid, &functions, &data, &problem);
    if (status == CGP_OK) {
        status = cgp_strategy_new(problem, &settings, rng, NULL, &strategy);
    }
    if (status == CGP_OK) {
        status = cgp_strategy_advance(strategy, 20000);
    }
    int32_t genes[N_GATES * 3 + 1];
    cgp_score score = {.error = INFINITY};
    if (status == CGP_OK) {
        status = cgp_strategy_best(strategy, genes, &score);
    }
    if (status == CGP_OK) {
        printf("x^2 + x: squared error %.3g with %d gates\n", score.error, score.n_gates);
    } else {
        printf("%s\n", cgp_status_text(status));
    }
    cgp_strategy_free(strategy);
    cgp_problem_free(problem);
    return status == CGP_OK && score.error < 1e-6 ? 0 : 1;
}
