/* A search: made, advanced, asked and told, saved and loaded. */
#include "search/strategy.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { STATE_VERSION = 1, N_STATE_SCORES = 7, N_STATE_WORDS = 16 };

static int is_bad(const cgp_problem *problem, const cgp_settings *settings) {
    return settings->n_parents < 1 || settings->n_offspring < 1 || settings->n_parents > 1000000 ||
           settings->n_offspring > 1000000 || (!settings->is_plus && settings->n_offspring < settings->n_parents) ||
           (int)settings->mutation < 0 || settings->mutation > CGP_ONLY_ACTIVE ||
           !(settings->rate >= 0.0 && settings->rate <= 1.0) || isnan(settings->threshold) || settings->patience < 0 ||
           isnan(settings->target_error) || isnan(settings->target_energy_pj) || isnan(settings->target_n_gates) ||
           (!settings->is_custom && !problem->has_data);
}

/* Values of all gates are kept where they fit the cache; else whole blocks are computed for each child. */
static int can_ripple(const cgp_problem *problem) {
    return problem->domain == CGP_INT8 && problem->samples.n_samples <= 64;
}

static cgp_status start(cgp_strategy *strategy, const int32_t *genes) {
    const cgp_problem *problem = strategy->problem;
    const cgp_settings *settings = &strategy->settings;
    const size_t n = (size_t)settings->n_parents * (size_t)problem->n_genes;
    int32_t *drawn = NULL;
    cgp_status status = workspace_new(problem, &strategy->work);
    if (status == CGP_OK && genes == NULL) {
        drawn = malloc(n * sizeof *drawn);
        status = drawn == NULL ? CGP_NO_MEMORY
                               : cgp_random(problem, (size_t)settings->n_parents, strategy->rng.word, drawn);
        genes = drawn;
    }
    if (status == CGP_OK) {
        status = check_genomes(problem, (size_t)settings->n_parents, genes);
    }
    if (status == CGP_OK) {
        if (settings->n_parents == 1 && settings->is_plus && !settings->is_custom && !(problem->grid.recurrent > 0.0)) {
            status = circuit_new(problem, &strategy->rng, can_ripple(problem), &strategy->circuit);
            if (status == CGP_OK) {
                status = inplace_start(strategy, genes);
                check_targets(strategy, &strategy->parent);
            }
        } else {
            status = population_new(strategy, genes);
            if (status == CGP_OK && !settings->is_custom) {
                status = population_start(strategy);
                check_targets(strategy, &strategy->best_score);
            }
        }
    }
    free(drawn);
    return status;
}

cgp_status cgp_strategy_new(const cgp_problem *problem, const cgp_settings *settings, const uint64_t *rng,
                            const int32_t *genes, cgp_strategy **strategy) {
    *strategy = NULL;
    if (is_bad(problem, settings)) {
        return problem->has_data || settings->is_custom ? CGP_BAD_SETTING : CGP_NO_DATA;
    }
    cgp_strategy *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return CGP_NO_MEMORY;
    }
    made->problem = problem;
    made->settings = *settings;
    memcpy(&made->rng, rng, sizeof made->rng);
    const cgp_status status = start(made, genes);
    if (status != CGP_OK) {
        cgp_strategy_free(made);
        return status;
    }
    *strategy = made;
    return CGP_OK;
}

void cgp_strategy_free(cgp_strategy *strategy) {
    if (strategy != NULL) {
        workspace_free(strategy->work);
        circuit_free(strategy->circuit);
        free(strategy->now.hits.items);
        free(strategy->now.revealed.items);
        free(strategy->chosen.hits.items);
        free(strategy->chosen.revealed.items);
        free(strategy->parents);
        free(strategy->children);
        free(strategy->spare);
        free(strategy->best);
        free(strategy->parent_scores);
        free(strategy->child_scores);
        free(strategy->spare_scores);
        free(strategy);
    }
}

cgp_status cgp_strategy_advance(cgp_strategy *strategy, int64_t n_gen) {
    cgp_status status = strategy->settings.is_custom ? CGP_WRONG_ORDER : CGP_OK;
    for (int64_t i = 0; status == CGP_OK && i < n_gen && strategy->counts.stop == CGP_GOES_ON; i++) {
        status = strategy->circuit != NULL ? inplace_generation(strategy) : population_generation(strategy);
    }
    return status;
}

int cgp_strategy_is_started(const cgp_strategy *strategy) {
    return strategy->circuit != NULL || strategy->is_started;
}

size_t cgp_strategy_n_asked(const cgp_strategy *strategy) {
    return (size_t)(strategy->is_started ? strategy->settings.n_offspring : strategy->settings.n_parents);
}

cgp_status cgp_strategy_ask(cgp_strategy *strategy, int32_t *genes) {
    const size_t n_genes = (size_t)strategy->problem->n_genes;
    if (!strategy->settings.is_custom || strategy->is_asked) {
        return CGP_WRONG_ORDER;
    }
    if (strategy->is_started) {
        const cgp_status status = population_make_children(strategy);
        if (status != CGP_OK) {
            return status;
        }
    }
    memcpy(genes, strategy->is_started ? strategy->children : strategy->parents,
           cgp_strategy_n_asked(strategy) * n_genes * sizeof *genes);
    strategy->is_asked = 1;
    return CGP_OK;
}

cgp_status cgp_strategy_tell(cgp_strategy *strategy, const double *errors) {
    const size_t n_genes = (size_t)strategy->problem->n_genes, n = cgp_strategy_n_asked(strategy);
    candidate_score *scores = strategy->is_started ? strategy->child_scores : strategy->parent_scores;
    if (!strategy->settings.is_custom || !strategy->is_asked) {
        return CGP_WRONG_ORDER;
    }
    strategy->is_asked = 0;
    for (size_t i = 0; i < n; i++) {
        if (strategy->is_started) {
            const int32_t *child = strategy->children + i * n_genes;
            find_active(strategy->work, child);
            cost_of_counts(strategy->problem, strategy->work->counts, &scores[i].score);
            longest_path(strategy->work, child, &scores[i].score);
        }
        scores[i].score.error = isnan(errors[i]) ? INFINITY : errors[i];
    }
    if (strategy->is_started) {
        population_select(strategy);
        return CGP_OK;
    }
    const cgp_status status = population_start(strategy);
    check_targets(strategy, &strategy->best_score);
    return status;
}

void cgp_strategy_counts(const cgp_strategy *strategy, cgp_counts *counts) {
    *counts = strategy->counts;
    counts->n_node_evals += strategy->work->n_node_evals;
    if (strategy->circuit != NULL) {
        counts->n_node_evals += strategy->circuit->n_node_evals;
        counts->n_active = *strategy->circuit->n_active;
    } else {
        workspace *work = NULL;
        if (workspace_new(strategy->problem, &work) == CGP_OK) {
            find_active(work, strategy->best);
            counts->n_active = work->n_active;
            workspace_free(work);
        }
    }
}

cgp_status cgp_strategy_best(const cgp_strategy *strategy, int32_t *genes, cgp_score *score) {
    workspace *work = NULL;
    if (strategy->circuit != NULL) {
        circuit_get(strategy->circuit, genes);
        *score = strategy->parent.score;
    } else {
        memcpy(genes, strategy->best, (size_t)strategy->problem->n_genes * sizeof *genes);
        *score = strategy->best_score.score;
    }
    const cgp_status status = workspace_new(strategy->problem, &work);
    if (status == CGP_OK) {
        /* a path is measured only when a comparison asks for it */
        find_active(work, genes);
        cost_of_counts(strategy->problem, work->counts, score);
        longest_path(work, genes, score);
        workspace_free(work);
    }
    return status;
}

void cgp_strategy_state_size(const cgp_strategy *strategy, size_t *n_genes, size_t *n_scores, size_t *n_words) {
    const size_t mu = (size_t)strategy->settings.n_parents, all = (size_t)strategy->problem->n_genes;
    *n_genes = strategy->circuit != NULL ? all + (size_t)strategy->problem->n_gates : (mu + 1) * all;
    *n_scores = (strategy->circuit != NULL ? 1 : mu + 1) * N_STATE_SCORES;
    *n_words = N_STATE_WORDS;
}

static void save_score(const candidate_score *from, double *to) {
    const double values[N_STATE_SCORES] = {from->score.error,           from->sum,        from->score.energy_pj,
                                           from->score.delay,           from->score.area, (double)from->score.n_gates,
                                           (double)from->score.depth};
    memcpy(to, values, sizeof values);
}

static void load_score(candidate_score *to, const double *from) {
    to->score.error = from[0];
    to->sum = from[1];
    to->score.energy_pj = from[2];
    to->score.delay = from[3];
    to->score.area = from[4];
    to->score.n_gates = (int32_t)from[5];
    to->score.depth = (int32_t)from[6];
}

cgp_status cgp_strategy_save(const cgp_strategy *strategy, int32_t *genes, double *scores, uint64_t *words) {
    const size_t mu = (size_t)strategy->settings.n_parents, all = (size_t)strategy->problem->n_genes;
    cgp_counts counts;
    if (strategy->is_asked) {
        return CGP_WRONG_ORDER;
    }
    cgp_strategy_counts(strategy, &counts);
    if (strategy->circuit != NULL) {
        circuit_get(strategy->circuit, genes);
        memcpy(genes + all, strategy->circuit->perm, (size_t)strategy->problem->n_gates * sizeof *genes);
        save_score(&strategy->parent, scores);
    } else {
        memcpy(genes, strategy->parents, mu * all * sizeof *genes);
        memcpy(genes + mu * all, strategy->best, all * sizeof *genes);
        for (size_t i = 0; i < mu; i++) {
            save_score(&strategy->parent_scores[i], scores + i * N_STATE_SCORES);
        }
        save_score(&strategy->best_score, scores + mu * N_STATE_SCORES);
    }
    const int64_t numbers[N_STATE_WORDS - 4] = {STATE_VERSION,      counts.n_gen,    counts.n_gen_stalled,
                                                counts.n_candidates, counts.n_neutral, counts.n_dearer,
                                                counts.n_node_evals, counts.stop,      strategy->is_started,
                                                counts.n_active,     0,                0};
    memcpy(words, strategy->rng.word, sizeof strategy->rng.word);
    memcpy(words + 4, numbers, sizeof numbers);
    return CGP_OK;
}

/* The order of gates decides which a draw picks; it must keep the active ones in front. */
static cgp_status load_order(circuit *c, const int32_t *perm) {
    const int32_t n_gates = c->problem->n_gates;
    for (int32_t i = 0; i < n_gates; i++) {
        c->stack[i] = 0;
    }
    for (int32_t i = 0; i < n_gates; i++) {
        if (perm[i] < 0 || perm[i] >= n_gates || c->stack[perm[i]]++ != 0 ||
            is_gate_active(c, perm[i]) != (i < *c->n_active)) {
            return CGP_BAD_SETTING;
        }
    }
    for (int32_t i = 0; i < n_gates; i++) {
        c->perm[i] = perm[i];
        c->pos[perm[i]] = i;
    }
    return CGP_OK;
}

cgp_status cgp_strategy_load(cgp_strategy *strategy, const int32_t *genes, const double *scores,
                             const uint64_t *words) {
    const size_t mu = (size_t)strategy->settings.n_parents, all = (size_t)strategy->problem->n_genes;
    int64_t numbers[N_STATE_WORDS - 4];
    memcpy(numbers, words + 4, sizeof numbers);
    if (numbers[0] != STATE_VERSION || strategy->is_asked) {
        return numbers[0] != STATE_VERSION ? CGP_BAD_SETTING : CGP_WRONG_ORDER;
    }
    cgp_status status = check_genomes(strategy->problem, strategy->circuit != NULL ? 1 : mu + 1, genes);
    if (status != CGP_OK) {
        return status;
    }
    if (strategy->circuit != NULL) {
        status = inplace_start(strategy, genes);
        if (status == CGP_OK) {
            status = load_order(strategy->circuit, genes + all);
        }
        if (status != CGP_OK) {
            return status;
        }
        load_score(&strategy->parent, scores);
        strategy->circuit->n_node_evals = 0;
    } else {
        memcpy(strategy->parents, genes, mu * all * sizeof *genes);
        memcpy(strategy->best, genes + mu * all, all * sizeof *genes);
        for (size_t i = 0; i < mu; i++) {
            load_score(&strategy->parent_scores[i], scores + i * N_STATE_SCORES);
        }
        load_score(&strategy->best_score, scores + mu * N_STATE_SCORES);
    }
    strategy->work->n_node_evals = 0;
    memcpy(strategy->rng.word, words, sizeof strategy->rng.word);
    strategy->counts = (cgp_counts){numbers[1], numbers[2], numbers[3], numbers[4], numbers[5],
                                    numbers[6], numbers[7], 0};
    strategy->is_started = (int)numbers[8];
    return CGP_OK;
}
