/* Scratch memory of one thread, and the evaluation of whole genomes in it. */
#ifndef CGP_WORKSPACE_H
#define CGP_WORKSPACE_H

#include "problem/problem.h"

/* One gate on a block: operand addresses move by a step per block, which is 0 for intermediate columns. */
typedef struct {
    cgp_kernel kernel;
    char *result;
    const char *a, *b;
    size_t a_step, b_step;
    int32_t gate; /* of a multiplexer with more than two inputs, else -1 */
} instruction;

/* Where an output's column lies, as for operands. */
typedef struct {
    const char *address;
    size_t step;
} column_address;

typedef struct {
    const cgp_problem *problem;
    size_t stride;        /* genes from one gate to the next; outputs follow the last */
    uint8_t *is_active;   /* (n_gates,) */
    int32_t *order;       /* (n_gates,) active gates, ascending */
    int32_t n_active;
    int32_t *counts;      /* (n_functions,) active gates by function */
    int32_t *stack;       /* (n_gates,) */
    int32_t *uses;        /* (n_pins,) readers left */
    int32_t *column;      /* (n_pins,) intermediate column of a gate */
    int32_t *free_column; /* (n_gates,) */
    instruction *program; /* (n_gates,) */
    column_address *outputs; /* (n_outputs,) */
    double *arrival;      /* (n_pins,) */
    int32_t *level;       /* (n_pins,) */
    char *columns;        /* intermediate columns, grown as needed */
    size_t n_columns;
    void *values;         /* (n_pins,) of the domain's type: one sample at a time */
    int64_t n_node_evals;
} workspace;

cgp_status workspace_new(const cgp_problem *problem, workspace **made);
void workspace_free(workspace *work);

/* Fills is_active, order, n_active and counts. */
void find_active(workspace *work, const int32_t *genes);

/* Longest path over the active gates in `order`: delay, and depth in gates. */
void longest_path(workspace *work, const int32_t *genes, cgp_score *score);

/* Sum of errors on the problem's samples, given in work what find_active fills; above `bound` it may stop early. */
cgp_status sum_of_errors(workspace *work, const int32_t *genes, double bound, double *sum);

/* Values (n_samples, n_outputs) on any samples. */
cgp_status fill_outputs(workspace *work, const int32_t *genes, const cgp_samples *samples, void *outputs);

/* All of a genome's score. */
cgp_status score_genome(workspace *work, const int32_t *genes, cgp_score *score);

#endif
