/* A search under way: (1 + lambda) on one circuit changed in place, or (mu +, lambda) on copies. */
#ifndef CGP_STRATEGY_H
#define CGP_STRATEGY_H

#include "circuit/circuit.h"
#include "evaluation/workspace.h"

typedef struct {
    cgp_score score;
    double sum; /* of errors, before it becomes a mean */
} candidate_score;

/* All that makes a child from its parent. */
typedef struct {
    change_list hits;     /* redraws of genes of active gates and of outputs */
    change_list revealed; /* redraws of gates that became active */
    hidden_redraws hidden;
    int is_changed;       /* an active gene is another */
    candidate_score candidate;
} child_record;

struct cgp_strategy {
    const cgp_problem *problem;
    cgp_settings settings;
    cgp_rng rng;
    cgp_counts counts;
    workspace *work;
    /* (1 + lambda) in place */
    circuit *circuit;
    child_record now, chosen;
    candidate_score parent;
    /* (mu +, lambda) on copies */
    int32_t *parents;  /* (n_parents, n_genes) */
    int32_t *children; /* (n_offspring, n_genes) */
    int32_t *spare;    /* (n_parents, n_genes) */
    int32_t *best;     /* (n_genes,) */
    candidate_score *parent_scores, *child_scores, *spare_scores;
    candidate_score best_score;
    int is_started; /* parents have scores */
    int is_asked;
};

/* mutation.c */

/* Redraws for a child of the circuit: those of active gates and outputs into `hits`, the others left hidden. */
int draw_hits(circuit *c, const cgp_settings *settings, change_list *hits);

/* A child in `genes`, given which gates of the parent are active; 1 when an active gene has changed. */
int mutate_genome(const cgp_problem *problem, cgp_mutation mutation, double rate, cgp_rng *rng,
                  const uint8_t *is_active, int32_t *genes);

/* Genes redrawn at most (UNIFORM_COUNT) or exactly (POINT). */
int32_t redraws_of_rate(const cgp_problem *problem, cgp_mutation mutation, double rate);

/* selection.c */

/* -1 when a is better than b, 0 when equal, 1 when worse. */
int compare_candidates(const cgp_settings *settings, const candidate_score *a, const candidate_score *b);

/* termination.c */

/* Stops the search when its best candidate has reached the targets. */
void check_targets(cgp_strategy *strategy, const candidate_score *best);

/* Ends a generation: counts it, and stops the search when its patience or its targets say so. */
void count_generation(cgp_strategy *strategy, int has_improved, const candidate_score *best);

/* inplace.c */
cgp_status inplace_start(cgp_strategy *strategy, const int32_t *genes);
cgp_status inplace_generation(cgp_strategy *strategy);

/* population.c */
cgp_status population_new(cgp_strategy *strategy, const int32_t *genes);
cgp_status population_start(cgp_strategy *strategy);
cgp_status population_generation(cgp_strategy *strategy);
cgp_status population_make_children(cgp_strategy *strategy);
void population_select(cgp_strategy *strategy);

#endif
