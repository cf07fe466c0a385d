/* Batches of genomes: scores, outputs, active gates, random genomes. */
#include <string.h>

#include "evaluation/workspace.h"

cgp_status cgp_evaluate(const cgp_problem *problem, size_t n, const int32_t *genes, cgp_score *scores) {
    workspace *work = NULL;
    cgp_status status = problem->has_data ? check_genomes(problem, n, genes) : CGP_NO_DATA;
    if (status == CGP_OK) {
        status = workspace_new(problem, &work);
    }
    for (size_t i = 0; status == CGP_OK && i < n; i++) {
        status = score_genome(work, genes + i * (size_t)problem->n_genes, &scores[i]);
    }
    workspace_free(work);
    return status;
}

cgp_status cgp_outputs(const cgp_problem *problem, size_t n, const int32_t *genes, size_t n_samples, size_t n_sets,
                       const size_t *set_start, const void *inputs, void *outputs) {
    const cgp_data data = {n_samples, n_sets, set_start, inputs, NULL, NULL, CGP_SE};
    const size_t step = n_samples * (size_t)problem->grid.n_outputs * value_size(problem->domain);
    char *to = outputs;
    workspace *work = NULL;
    cgp_samples samples = {0};
    cgp_status status = check_genomes(problem, n, genes);
    if (status == CGP_OK) {
        status = samples_fill(&samples, problem, &data);
    }
    if (status == CGP_OK) {
        status = workspace_new(problem, &work);
    }
    for (size_t i = 0; status == CGP_OK && i < n; i++) {
        find_active(work, genes + i * (size_t)problem->n_genes);
        status = fill_outputs(work, genes + i * (size_t)problem->n_genes, &samples, to + i * step);
    }
    workspace_free(work);
    samples_clear(&samples);
    return status;
}

cgp_status cgp_active(const cgp_problem *problem, const int32_t *genes, uint8_t *is_active) {
    workspace *work = NULL;
    cgp_status status = check_genomes(problem, 1, genes);
    if (status == CGP_OK) {
        status = workspace_new(problem, &work);
    }
    if (status == CGP_OK) {
        find_active(work, genes);
        memcpy(is_active, work->is_active, (size_t)problem->n_gates);
    }
    workspace_free(work);
    return status;
}

cgp_status cgp_random(const cgp_problem *problem, size_t n, uint64_t *rng, int32_t *genes) {
    cgp_rng state;
    memcpy(&state, rng, sizeof state);
    for (size_t i = 0; i < n; i++) {
        for (int32_t gene = 0; gene < problem->n_genes; gene++) {
            *genes++ = random_gene(problem, &state, gene);
        }
    }
    memcpy(rng, &state, sizeof state);
    return CGP_OK;
}
