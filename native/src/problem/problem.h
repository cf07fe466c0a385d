/* A problem: grid, functions with their costs, samples as columns. Read-only once made. */
#ifndef CGP_PROBLEM_H
#define CGP_PROBLEM_H

#include <stddef.h>
#include <stdint.h>

#include "cgp.h"
#include "gates/functions.h"
#include "gates/kernels.h"
#include "problem/random.h"

/* Samples, column by column, each padded with zeros to whole blocks. */
typedef struct {
    size_t n_samples, n_padded, n_sets;
    size_t *set_start;
    uint8_t *branch;  /* (n_padded,) the set's index modulo the arity */
    void *inputs;     /* (n_inputs, n_padded) */
    void *targets;    /* (n_outputs, n_padded) or NULL */
    void *weights;    /* (n_outputs, n_padded) or NULL; int32 for int8, else the domain's type */
    double total_weight;
} cgp_samples;

/* Legal sources of a connection: pins low .. low + count - 1. */
typedef struct {
    int32_t low, count;
} pin_range;

struct cgp_problem {
    cgp_grid grid;
    cgp_domain domain;
    cgp_error error;
    int32_t n_gates, n_pins, n_genes, genes_per_gate;
    int32_t n_functions;
    int32_t ids[CGP_MAX_FUNCTIONS];
    int32_t reads[CGP_MAX_FUNCTIONS];   /* inputs that a function reads */
    int32_t is_gate[CGP_MAX_FUNCTIONS]; /* 0 for a wire */
    double energy_pj[CGP_MAX_FUNCTIONS], area[CGP_MAX_FUNCTIONS], delay[CGP_MAX_FUNCTIONS];
    int8_form forms[2][CGP_MAX_FUNCTIONS]; /* by branch */
    pin_range *ranges;                     /* (cols + 1,) the last for outputs */
    cgp_kernels kernels;
    int has_data;
    cgp_samples samples;
};

size_t value_size(cgp_domain domain);

/* Copies samples into columns; targets and weights may be NULL. Free with samples_clear, also after an error. */
cgp_status samples_fill(cgp_samples *samples, const cgp_problem *problem, const cgp_data *data);
void samples_clear(cgp_samples *samples);

/* CGP_BAD_GENE when one of n genomes has a gene outside its range. */
cgp_status check_genomes(const cgp_problem *problem, size_t n, const int32_t *genes);

/* Energy, area and gates of `counts` active gates per function, always summed in the same order. */
void cost_of_counts(const cgp_problem *problem, const int32_t *counts, cgp_score *score);

/* From a sum of errors to the error that was asked for; not-a-number becomes infinity. */
double error_of_sum(const cgp_problem *problem, double sum);

static inline int is_squared(const cgp_problem *problem) {
    return problem->error == CGP_SE || problem->error == CGP_MSE;
}

/* A new connection for a gate of `column` (cols: for an output), or a new function. */
static inline int32_t random_connection(const cgp_problem *problem, cgp_rng *rng, int32_t column) {
    const cgp_grid *grid = &problem->grid;
    if (grid->recurrent > 0.0 && column < grid->cols && random_unit(rng) < grid->recurrent) {
        const int32_t first = column * grid->rows;
        return grid->n_inputs + first + (int32_t)random_below(rng, (uint32_t)(problem->n_gates - first));
    }
    const pin_range range = problem->ranges[column];
    return range.low + (int32_t)random_below(rng, (uint32_t)range.count);
}

static inline int32_t random_function(const cgp_problem *problem, cgp_rng *rng) {
    return (int32_t)random_below(rng, (uint32_t)problem->n_functions);
}

/* A new value for gene k < arity + 1 of a gate. */
static inline int32_t random_gate_gene(const cgp_problem *problem, cgp_rng *rng, int32_t gate, int32_t k) {
    if (k == problem->grid.arity) {
        return random_function(problem, rng);
    }
    return random_connection(problem, rng, gate / problem->grid.rows);
}

static inline int32_t random_gene(const cgp_problem *problem, cgp_rng *rng, int32_t gene) {
    const int32_t gate = gene / problem->genes_per_gate;
    if (gate >= problem->n_gates) {
        return random_connection(problem, rng, problem->grid.cols);
    }
    return random_gate_gene(problem, rng, gate, gene % problem->genes_per_gate);
}

#endif
