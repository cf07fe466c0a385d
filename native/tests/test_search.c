/* The search: the changed circuit stays what a fresh one would be; states; custom errors; bad settings. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "search/strategy.h"

static cgp_problem *make_problem(cgp_domain domain, const cgp_grid *grid, size_t n_samples, int n_sets) {
    int32_t ids[CGP_N_INT8];
    double costs[CGP_N_INT8];
    const int32_t n = domain == CGP_INT8 ? CGP_N_INT8 : 8;
    for (int32_t i = 0; i < n; i++) {
        ids[i] = i;
        costs[i] = i == 3 ? 2.0 : 0.5 + i / 8;
    }
    const cgp_function_set set = {domain, (size_t)n, ids, costs, costs, costs};
    const size_t n_in = (size_t)grid->n_inputs * n_samples, n_out = (size_t)grid->n_outputs * n_samples;
    char *inputs = calloc(n_in, 8), *targets = calloc(n_out, 8);
    for (size_t i = 0; i < n_in + n_out; i++) {
        char *to = i < n_in ? inputs : targets;
        const size_t at = i < n_in ? i : i - n_in;
        const int value = (int)((i * 2654435761u) >> 7) % 100;
        if (domain == CGP_INT8) {
            ((int8_t *)to)[at] = (int8_t)value;
        } else if (domain == CGP_FLOAT32) {
            ((float *)to)[at] = (float)value / 50.0f;
        } else {
            ((double *)to)[at] = (double)value / 50.0;
        }
    }
    const size_t starts[3] = {0, n_sets == 1 ? n_samples : n_samples / 2, n_samples};
    const cgp_data data = {n_samples, (size_t)n_sets, starts, inputs, targets, NULL, CGP_SE};
    cgp_problem *problem = NULL;
    CHECK(cgp_problem_new(grid, &set, &data, &problem) == CGP_OK);
    free(inputs), free(targets);
    return problem;
}

static cgp_settings settings_of(cgp_mutation mutation, double rate, double threshold) {
    const cgp_settings settings = {1, 4, 1, mutation, rate, threshold, 1, 0, 0, INFINITY, INFINITY, INFINITY, 0};
    return settings;
}

/* Lists of readers, order of gates, counts and values against the genes alone. */
static void check_circuit(const circuit *c) {
    const cgp_problem *problem = c->problem;
    workspace *work = NULL;
    int32_t *genes = malloc((size_t)problem->n_genes * sizeof *genes);
    CHECK(workspace_new(problem, &work) == CGP_OK);
    circuit_get(c, genes);
    CHECK(cgp_first_bad_gene(problem, genes) == (size_t)problem->n_genes);
    find_active(work, genes);
    int n_wrong = work->n_active != *c->n_active;
    for (int32_t gate = 0; gate < problem->n_gates; gate++) {
        n_wrong += c->perm[c->pos[gate]] != gate;
        n_wrong += is_gate_active(c, gate) != work->is_active[gate];
        n_wrong += ((uint32_t)c->active[gate / 32] >> (gate % 32) & 1u) != work->is_active[gate];
        n_wrong += (c->head[problem->grid.n_inputs + gate] >= 0) != work->is_active[gate];
    }
    n_wrong += memcmp(c->counts, work->counts, (size_t)problem->n_functions * sizeof *c->counts) != 0;
    for (int32_t pin = 0; pin < problem->n_pins; pin++) {
        int32_t before = ~pin, length = 0;
        for (int32_t slot = c->head[pin]; slot >= 0 && length <= c->n_slots; slot = c->next[slot], length++) {
            n_wrong += c->prev[slot] != before || c->gene[slot] != pin;
            before = slot;
        }
        n_wrong += length > c->n_slots;
    }
    for (size_t word = 0; word < c->n_words; word++) {
        n_wrong += c->pending[word] != 0;
    }
    CHECK(n_wrong == 0);
    free(genes);
    workspace_free(work);
}

static void check_best(const cgp_problem *problem, const cgp_strategy *strategy) {
    int32_t *genes = malloc((size_t)problem->n_genes * sizeof *genes);
    cgp_score score, fresh;
    CHECK(cgp_strategy_best(strategy, genes, &score) == CGP_OK);
    CHECK(cgp_evaluate(problem, 1, genes, &fresh) == CGP_OK);
    CHECK(score.error == fresh.error && score.energy_pj == fresh.energy_pj && score.n_gates == fresh.n_gates);
    CHECK(score.delay == fresh.delay && score.depth == fresh.depth && score.area == fresh.area);
    free(genes);
}

static void test_circuit_stays_consistent(cgp_domain domain, const cgp_grid *grid, size_t n_samples, int n_sets) {
    cgp_problem *problem = make_problem(domain, grid, n_samples, n_sets);
    for (int mutation = CGP_UNIFORM_COUNT; mutation <= CGP_ONLY_ACTIVE; mutation++) {
        const double rates[] = {0.0, 0.02, 0.3, 1.0};
        for (size_t r = 0; r < sizeof rates / sizeof *rates; r++) {
            const cgp_settings settings = settings_of((cgp_mutation)mutation, rates[r], r % 2 == 0 ? 1e30 : 100.0);
            const uint64_t rng[4] = {5, 6, 7, (uint64_t)mutation + 1};
            cgp_strategy *strategy = NULL;
            CHECK(cgp_strategy_new(problem, &settings, rng, NULL, &strategy) == CGP_OK);
            for (int i = 0; i < 40; i++) {
                CHECK(cgp_strategy_advance(strategy, 5) == CGP_OK);
                check_circuit(strategy->circuit);
            }
            check_best(problem, strategy);
            cgp_strategy_free(strategy);
        }
    }
    cgp_problem_free(problem);
}

static void test_saved_state_goes_on_the_same(const cgp_settings *settings, const cgp_grid *grid) {
    cgp_problem *problem = make_problem(CGP_INT8, grid, 2, 2);
    const uint64_t rng[4] = {1, 2, 3, 4}, other_rng[4] = {4, 3, 2, 1};
    cgp_strategy *one = NULL, *two = NULL;
    size_t n_genes, n_scores, n_words;
    CHECK(cgp_strategy_new(problem, settings, rng, NULL, &one) == CGP_OK);
    CHECK(cgp_strategy_new(problem, settings, other_rng, NULL, &two) == CGP_OK);
    CHECK(cgp_strategy_advance(one, 50) == CGP_OK);
    cgp_strategy_state_size(one, &n_genes, &n_scores, &n_words);
    int32_t *genes[2] = {malloc(n_genes * sizeof(int32_t)), malloc(n_genes * sizeof(int32_t))};
    double *scores[2] = {malloc(n_scores * sizeof(double)), malloc(n_scores * sizeof(double))};
    uint64_t *words[2] = {malloc(n_words * sizeof(uint64_t)), malloc(n_words * sizeof(uint64_t))};
    CHECK(cgp_strategy_save(one, genes[0], scores[0], words[0]) == CGP_OK);
    CHECK(cgp_strategy_load(two, genes[0], scores[0], words[0]) == CGP_OK);
    CHECK(cgp_strategy_advance(one, 100) == CGP_OK && cgp_strategy_advance(two, 100) == CGP_OK);
    CHECK(cgp_strategy_save(one, genes[0], scores[0], words[0]) == CGP_OK);
    CHECK(cgp_strategy_save(two, genes[1], scores[1], words[1]) == CGP_OK);
    CHECK(memcmp(genes[0], genes[1], n_genes * sizeof(int32_t)) == 0);
    CHECK(memcmp(scores[0], scores[1], n_scores * sizeof(double)) == 0);
    CHECK(memcmp(words[0], words[1], n_words * sizeof(uint64_t)) == 0);
    genes[0][0] = -1;
    CHECK(cgp_strategy_load(two, genes[0], scores[0], words[0]) == CGP_BAD_GENE);
    words[0][4] = 99;
    CHECK(cgp_strategy_load(two, genes[1], scores[0], words[0]) == CGP_BAD_SETTING);
    for (int i = 0; i < 2; i++) {
        free(genes[i]), free(scores[i]), free(words[i]);
    }
    cgp_strategy_free(one);
    cgp_strategy_free(two);
    cgp_problem_free(problem);
}

static void test_ask_and_tell(const cgp_grid *grid) {
    cgp_problem *problem = make_problem(CGP_INT8, grid, 1, 1);
    cgp_settings settings = settings_of(CGP_POINT, 0.05, -1.0);
    const uint64_t rng[4] = {1, 2, 3, 4};
    cgp_strategy *strategy = NULL;
    settings.is_custom = 1;
    settings.n_parents = 2;
    settings.n_offspring = 6;
    CHECK(cgp_strategy_new(problem, &settings, rng, NULL, &strategy) == CGP_OK);
    const size_t n_genes = cgp_problem_n_genes(problem);
    int32_t *genes = malloc(6 * n_genes * sizeof *genes);
    double errors[6], best = INFINITY;
    CHECK(cgp_strategy_advance(strategy, 1) == CGP_WRONG_ORDER && cgp_strategy_tell(strategy, errors) == CGP_WRONG_ORDER);
    for (int i = 0; i < 200; i++) {
        const size_t n = cgp_strategy_n_asked(strategy);
        CHECK(n == (i == 0 ? 2 : 6) && cgp_strategy_ask(strategy, genes) == CGP_OK);
        CHECK(cgp_strategy_ask(strategy, genes) == CGP_WRONG_ORDER);
        for (size_t k = 0; k < n; k++) {
            errors[k] = 0.0; /* genes as small as can be */
            for (size_t g = 0; g < n_genes; g++) {
                errors[k] += (double)genes[k * n_genes + g];
            }
            best = errors[k] < best ? errors[k] : best;
        }
        if (i == 7) {
            errors[0] = NAN;
        }
        CHECK(cgp_strategy_tell(strategy, errors) == CGP_OK);
    }
    cgp_score score;
    CHECK(cgp_strategy_best(strategy, genes, &score) == CGP_OK && score.error == best);
    cgp_counts counts;
    cgp_strategy_counts(strategy, &counts);
    CHECK(counts.n_gen == 199 && counts.n_candidates == 199 * 6);
    free(genes);
    cgp_strategy_free(strategy);
    cgp_problem_free(problem);
}

static void test_bad_settings_are_refused(const cgp_grid *grid) {
    cgp_problem *problem = make_problem(CGP_INT8, grid, 1, 1);
    const uint64_t rng[4] = {1, 2, 3, 4};
    const cgp_settings good = settings_of(CGP_POINT, 0.05, 0.0);
    cgp_settings bad[9];
    cgp_strategy *strategy = NULL;
    for (size_t i = 0; i < 9; i++) {
        bad[i] = good;
    }
    bad[0].n_parents = 0;
    bad[1].n_offspring = 0;
    bad[2].rate = -0.1;
    bad[3].rate = NAN;
    bad[4].mutation = (cgp_mutation)7;
    bad[5].threshold = NAN;
    bad[6].patience = -1;
    bad[7].target_error = NAN;
    bad[8].is_plus = 0, bad[8].n_parents = 5;
    for (size_t i = 0; i < 9; i++) {
        CHECK(cgp_strategy_new(problem, &bad[i], rng, NULL, &strategy) == CGP_BAD_SETTING && strategy == NULL);
    }
    int32_t *genes = malloc(cgp_problem_n_genes(problem) * sizeof *genes);
    memset(genes, 127, cgp_problem_n_genes(problem) * sizeof *genes);
    CHECK(cgp_strategy_new(problem, &good, rng, genes, &strategy) == CGP_BAD_GENE);
    free(genes);
    cgp_strategy_free(NULL);
    cgp_problem_free(problem);
}

int main(void) {
    const cgp_grid small = {3, 4, 3, 5, 2, 2, 0.0}, all = {9, 16, 8, 8, 9, 2, 0.0}, tiny = {1, 1, 1, 1, 2, 2, 0.0};
    const cgp_grid three = {2, 3, 1, 40, 41, 3, 0.0}, recurrent = {2, 2, 2, 10, 11, 2, 0.3};
    const cgp_grid *grids[] = {&small, &all, &tiny, &three};
    for (size_t i = 0; i < sizeof grids / sizeof *grids; i++) {
        test_circuit_stays_consistent(CGP_INT8, grids[i], 1, 1);
        test_circuit_stays_consistent(CGP_INT8, grids[i], 6, 2);
        test_circuit_stays_consistent(CGP_INT8, grids[i], 70, 2);
    }
    test_circuit_stays_consistent(CGP_FLOAT32, &small, 300, 1);
    test_circuit_stays_consistent(CGP_FLOAT64, &small, 5, 1);
    cgp_settings settings = settings_of(CGP_UNIFORM_COUNT, 0.05, 1e4);
    test_saved_state_goes_on_the_same(&settings, &all);
    settings.mutation = CGP_SINGLE;
    test_saved_state_goes_on_the_same(&settings, &small);
    test_saved_state_goes_on_the_same(&settings, &recurrent);
    settings.n_parents = 3, settings.is_plus = 0;
    test_saved_state_goes_on_the_same(&settings, &all);
    test_ask_and_tell(&small);
    test_bad_settings_are_refused(&small);
    return report("search");
}
