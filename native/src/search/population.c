/* (mu + lambda) and (mu, lambda) on copies of genomes: several parents, recurrent connections, errors from outside. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "search/strategy.h"

cgp_status population_new(cgp_strategy *strategy, const int32_t *genes) {
    const size_t n_genes = (size_t)strategy->problem->n_genes;
    const size_t mu = (size_t)strategy->settings.n_parents, lambda = (size_t)strategy->settings.n_offspring;
    strategy->parents = malloc(mu * n_genes * sizeof *strategy->parents);
    strategy->spare = malloc(mu * n_genes * sizeof *strategy->spare);
    strategy->children = malloc(lambda * n_genes * sizeof *strategy->children);
    strategy->best = malloc(n_genes * sizeof *strategy->best);
    strategy->parent_scores = calloc(mu, sizeof *strategy->parent_scores);
    strategy->spare_scores = calloc(mu, sizeof *strategy->spare_scores);
    strategy->child_scores = calloc(lambda, sizeof *strategy->child_scores);
    if (strategy->parents == NULL || strategy->spare == NULL || strategy->children == NULL || strategy->best == NULL ||
        strategy->parent_scores == NULL || strategy->spare_scores == NULL || strategy->child_scores == NULL) {
        return CGP_NO_MEMORY;
    }
    memcpy(strategy->parents, genes, mu * n_genes * sizeof *genes);
    memcpy(strategy->best, genes, n_genes * sizeof *genes);
    return CGP_OK;
}

static void keep_best(cgp_strategy *strategy, const int32_t *genes, const candidate_score *score, int is_first) {
    if (is_first || compare_candidates(&strategy->settings, score, &strategy->best_score) <= 0) {
        memcpy(strategy->best, genes, (size_t)strategy->problem->n_genes * sizeof *genes);
        strategy->best_score = *score;
    }
}

cgp_status population_start(cgp_strategy *strategy) {
    const size_t n_genes = (size_t)strategy->problem->n_genes;
    for (int32_t i = 0; i < strategy->settings.n_parents; i++) {
        const int32_t *genes = strategy->parents + (size_t)i * n_genes;
        cgp_score *score = &strategy->parent_scores[i].score;
        const double given = score->error;
        const cgp_status status = score_genome(strategy->work, genes, score);
        if (status != CGP_OK) {
            return status;
        }
        if (strategy->settings.is_custom) {
            score->error = given;
        }
        keep_best(strategy, genes, &strategy->parent_scores[i], i == 0);
    }
    strategy->is_started = 1;
    return CGP_OK;
}

cgp_status population_make_children(cgp_strategy *strategy) {
    const cgp_settings *settings = &strategy->settings;
    const size_t n_genes = (size_t)strategy->problem->n_genes;
    for (int32_t i = 0; i < settings->n_offspring; i++) {
        const size_t from = random_below(&strategy->rng, (uint32_t)settings->n_parents);
        const int32_t *parent = strategy->parents + from * n_genes;
        int32_t *child = strategy->children + (size_t)i * n_genes;
        candidate_score *score = &strategy->child_scores[i];
        memcpy(child, parent, n_genes * sizeof *child);
        find_active(strategy->work, parent);
        const int has_changed = mutate_genome(strategy->problem, settings->mutation, settings->rate, &strategy->rng,
                                              strategy->work->is_active, child);
        strategy->counts.n_candidates++;
        *score = strategy->parent_scores[from];
        if (settings->is_custom) {
            continue;
        }
        if (!has_changed) {
            strategy->counts.n_neutral++;
            continue;
        }
        const cgp_status status = score_genome(strategy->work, child, &score->score);
        if (status != CGP_OK) {
            return status;
        }
    }
    return CGP_OK;
}

/* 1 when the pool's member i goes before j; members 0 .. lambda - 1 are children, then parents. */
static int goes_before(const cgp_strategy *strategy, size_t i, size_t j) {
    const size_t lambda = (size_t)strategy->settings.n_offspring;
    const candidate_score *a = i < lambda ? &strategy->child_scores[i] : &strategy->parent_scores[i - lambda];
    const candidate_score *b = j < lambda ? &strategy->child_scores[j] : &strategy->parent_scores[j - lambda];
    const int verdict = compare_candidates(&strategy->settings, a, b);
    if (verdict != 0) {
        return verdict < 0;
    }
    if ((i < lambda) != (j < lambda)) {
        const int may_drift = strategy->settings.is_drifting || !(a->score.error <= strategy->settings.threshold);
        return (i < lambda) == may_drift;
    }
    return i < j;
}

void population_select(cgp_strategy *strategy) {
    const size_t mu = (size_t)strategy->settings.n_parents, lambda = (size_t)strategy->settings.n_offspring;
    const size_t n_genes = (size_t)strategy->problem->n_genes;
    const size_t n_pool = strategy->settings.is_plus ? lambda + mu : lambda;
    const candidate_score before = strategy->best_score;
    for (size_t i = 0; i < lambda; i++) {
        keep_best(strategy, strategy->children + i * n_genes, &strategy->child_scores[i], 0);
    }
    for (size_t rank = 0, last = 0; rank < mu; rank++) {
        size_t pick = n_pool;
        for (size_t i = 0; i < n_pool; i++) {
            if ((rank == 0 || goes_before(strategy, last, i)) && (pick == n_pool || goes_before(strategy, i, pick))) {
                pick = i;
            }
        }
        const int is_child = pick < lambda;
        const size_t at = is_child ? pick : pick - lambda;
        memcpy(strategy->spare + rank * n_genes, (is_child ? strategy->children : strategy->parents) + at * n_genes,
               n_genes * sizeof *strategy->spare);
        strategy->spare_scores[rank] = is_child ? strategy->child_scores[at] : strategy->parent_scores[at];
        last = pick;
    }
    int32_t *genes = strategy->parents;
    strategy->parents = strategy->spare;
    strategy->spare = genes;
    candidate_score *scores = strategy->parent_scores;
    strategy->parent_scores = strategy->spare_scores;
    strategy->spare_scores = scores;
    count_generation(strategy, compare_candidates(&strategy->settings, &strategy->best_score, &before) < 0,
                     &strategy->best_score);
}

cgp_status population_generation(cgp_strategy *strategy) {
    const cgp_status status = population_make_children(strategy);
    if (status == CGP_OK) {
        population_select(strategy);
    }
    return status;
}
