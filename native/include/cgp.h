/* Cartesian genetic programming: circuits on a grid, their evaluation, and the (mu + lambda) search.
 *
 * A genome is an array of int32 genes: per gate `in_0 .. in_{arity-1}, function`, gates column by
 * column (gate = column * rows + row), then one gene per output. A connection gene names a pin:
 * inputs come first, then gate outputs. A function gene is an index in the function set.
 * Source: Miller (ed.), Cartesian Genetic Programming, Springer 2011, chapter 2.
 *
 * The library keeps no global state, prints nothing and never exits. Every call returns a cgp_status
 * or cannot fail. Arrays are the caller's, inputs are never written, and a cgp_problem may be used
 * from several threads at once.
 *
 * What stands between the two marks below is also what the Python binding is generated from. */
#ifndef CGP_H
#define CGP_H

#include <stddef.h>
#include <stdint.h>

/* inside one module, as in the Python binding, nothing is exported */
#if defined(__GNUC__) && !defined(CGP_IN_ONE_MODULE)
#pragma GCC visibility push(default)
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* [binding */

typedef enum {
    CGP_OK = 0,
    CGP_NO_MEMORY = 1,
    CGP_BAD_GRID = 2,      /* a size below 1, too many genes, or levels_back below 1 */
    CGP_BAD_FUNCTION = 3,  /* an empty set, an unknown id, one of another domain, or one that needs more inputs */
    CGP_BAD_COST = 4,      /* negative or not finite */
    CGP_BAD_DATA = 5,      /* no sample, set boundaries out of order, or a weight that is negative or not whole */
    CGP_BAD_GENE = 6,      /* outside its range */
    CGP_BAD_SETTING = 7,   /* of a strategy */
    CGP_NO_DATA = 8,       /* the call needs samples, the problem was made without */
    CGP_WRONG_ORDER = 9    /* tell before ask, ask twice, or a call that this strategy does not have */
} cgp_status;

/* Values that run through the wires. */
typedef enum { CGP_INT8 = 0, CGP_FLOAT32 = 1, CGP_FLOAT64 = 2 } cgp_domain;

/* Sum of squared errors, mean squared error, sum of absolute errors, mean absolute error;
 * each over all samples and outputs, weighted. */
typedef enum { CGP_SE = 0, CGP_MSE = 1, CGP_AE = 2, CGP_MAE = 3 } cgp_error;

/* How children differ from their parent; `rate` in [0, 1].
 * UNIFORM_COUNT: a number of genes uniform in 0..ceil(rate * n_genes) is redrawn.
 * POINT: round(rate * n_genes) genes are redrawn, at least one.
 * PROBABILISTIC: each gene is redrawn with probability rate.
 * SINGLE: genes are redrawn until an active one has changed (Goldman and Punch 2013).
 * ONLY_ACTIVE: each active gene is redrawn with probability rate. */
typedef enum {
    CGP_UNIFORM_COUNT = 0,
    CGP_POINT = 1,
    CGP_PROBABILISTIC = 2,
    CGP_SINGLE = 3,
    CGP_ONLY_ACTIVE = 4
} cgp_mutation;

typedef enum { CGP_GOES_ON = 0, CGP_TARGETS_REACHED = 1, CGP_OUT_OF_PATIENCE = 2 } cgp_stop;

typedef struct {
    int32_t n_inputs, n_outputs, rows, cols;
    int32_t levels_back;  /* columns that a gate can look back; cols + 1 reaches everything */
    int32_t arity;        /* connection genes per gate */
    double recurrent;     /* probability that a redrawn connection looks forward; 0 forbids it */
} cgp_grid;

typedef struct {
    cgp_domain domain;
    size_t n_functions;
    const int32_t *ids;       /* (n_functions,) ids of the function table */
    const double *energy_pj;  /* (n_functions,) */
    const double *area;       /* (n_functions,) */
    const double *delay;      /* (n_functions,) */
} cgp_function_set;

/* Samples in one or more sets; the multiplexer selects its input by a sample's set. */
typedef struct {
    size_t n_samples;
    size_t n_sets;
    const size_t *set_start;  /* (n_sets + 1,) first sample of each set, then n_samples */
    const void *inputs;       /* (n_samples, n_inputs) in the domain's type */
    const void *targets;      /* (n_samples, n_outputs) */
    const double *weights;    /* (n_samples, n_outputs) or NULL: all 1; 0 is a don't-care; whole for int8 */
    cgp_error error;
} cgp_data;

typedef struct {
    double error, energy_pj, delay, area;
    int32_t n_gates;  /* active gates; a wire is none */
    int32_t depth;    /* of the longest path, in gates */
} cgp_score;

typedef struct {
    int32_t n_parents;    /* mu */
    int32_t n_offspring;  /* lambda */
    int is_plus;          /* parents compete with their children (plus), or die (comma) */
    cgp_mutation mutation;
    double rate;
    double threshold;     /* error at or below which energy decides; negative: error alone decides, for ever */
    int is_drifting;      /* equal children replace parents in the second phase too */
    int is_custom;        /* errors come from the caller, by ask and tell */
    int64_t patience;     /* generations without strict improvement, or 0 for no limit */
    double target_error, target_energy_pj; /* stop when the best is at or below all three; infinity: not asked for */
    double target_n_gates;
    int has_targets;
} cgp_settings;

typedef struct {
    int64_t n_gen;           /* generations done */
    int64_t n_gen_stalled;   /* since the last strict improvement */
    int64_t n_candidates;    /* children made */
    int64_t n_neutral;       /* of them not evaluated: no active gene changed */
    int64_t n_dearer;        /* of them not evaluated: more energy than the parent in the second phase */
    int64_t n_node_evals;    /* gate evaluations, each on one sample */
    int64_t stop;            /* a cgp_stop */
    int64_t n_active;        /* active gates of the best, wires included */
} cgp_counts;

typedef struct cgp_problem cgp_problem;
typedef struct cgp_strategy cgp_strategy;

/* One line on what a status means; static text. */
const char *cgp_status_text(cgp_status status);

/* The function table: ids 0 .. cgp_n_functions(domain) - 1 of a domain. */
int32_t cgp_n_functions(cgp_domain domain);
const char *cgp_function_name(cgp_domain domain, int32_t id);      /* NULL when there is none */
int32_t cgp_function_id(cgp_domain domain, const char *name);      /* -1 when there is none */
int32_t cgp_function_arity(cgp_domain domain, int32_t id);         /* inputs that it reads; -1 for all, -2 for none such */
double cgp_function_value(cgp_domain domain, int32_t id, double a, double b, int32_t set); /* on one pair */

/* Copies everything it is given; `data` may be NULL for problems that are never evaluated on errors. */
cgp_status cgp_problem_new(const cgp_grid *grid, const cgp_function_set *functions, const cgp_data *data,
                           cgp_problem **problem);
void cgp_problem_free(cgp_problem *problem);
size_t cgp_problem_n_genes(const cgp_problem *problem);

/* Lower and upper bound of every gene, both inclusive; with recurrent connections upper spans all gates. */
void cgp_bounds(const cgp_problem *problem, int32_t *lower, int32_t *upper);

/* Index of the first gene outside its range, or n_genes. */
size_t cgp_first_bad_gene(const cgp_problem *problem, const int32_t *genes);

/* Scores of n genomes (n, n_genes) on the problem's samples. */
cgp_status cgp_evaluate(const cgp_problem *problem, size_t n, const int32_t *genes, cgp_score *scores);

/* Values (n, n_samples, n_outputs) in the domain's type for inputs (n_samples, n_inputs) in sets as in cgp_data. */
cgp_status cgp_outputs(const cgp_problem *problem, size_t n, const int32_t *genes, size_t n_samples, size_t n_sets,
                       const size_t *set_start, const void *inputs, void *outputs);

/* 1 for gates that an output depends on, else 0: (n_gates,). */
cgp_status cgp_active(const cgp_problem *problem, const int32_t *genes, uint8_t *is_active);

/* n random genomes; each gene uniform in its range. `rng` is the state of xoshiro256**, read and advanced. */
cgp_status cgp_random(const cgp_problem *problem, size_t n, uint64_t *rng, int32_t *genes);

/* n children, each from its own parent: both (n, n_genes). */
cgp_status cgp_mutate(const cgp_problem *problem, cgp_mutation mutation, double rate, size_t n, uint64_t *rng,
                      const int32_t *parents, int32_t *children);

/* A search from `genes` (n_parents, n_genes), or from random genomes where it is NULL. The problem must outlive it. */
cgp_status cgp_strategy_new(const cgp_problem *problem, const cgp_settings *settings, const uint64_t *rng,
                            const int32_t *genes, cgp_strategy **strategy);
void cgp_strategy_free(cgp_strategy *strategy);

/* Up to n_gen generations; fewer when it stops. Counts say how many are done. */
cgp_status cgp_strategy_advance(cgp_strategy *strategy, int64_t n_gen);

/* Custom errors: the first ask returns the parents, each later one n_offspring children; tell takes their errors. */
size_t cgp_strategy_n_asked(const cgp_strategy *strategy);
int cgp_strategy_is_started(const cgp_strategy *strategy); /* 1 when the parents have their errors */
cgp_status cgp_strategy_ask(cgp_strategy *strategy, int32_t *genes);
cgp_status cgp_strategy_tell(cgp_strategy *strategy, const double *errors);

void cgp_strategy_counts(const cgp_strategy *strategy, cgp_counts *counts);
cgp_status cgp_strategy_best(const cgp_strategy *strategy, int32_t *genes, cgp_score *score);

/* The whole state as three arrays, whose lengths cgp_strategy_state_size gives; a strategy made with the same
 * problem and settings goes on from it exactly as this one would. */
void cgp_strategy_state_size(const cgp_strategy *strategy, size_t *n_genes, size_t *n_scores, size_t *n_words);
cgp_status cgp_strategy_save(const cgp_strategy *strategy, int32_t *genes, double *scores, uint64_t *words);
cgp_status cgp_strategy_load(cgp_strategy *strategy, const int32_t *genes, const double *scores,
                             const uint64_t *words);

/* binding] */

#ifdef __cplusplus
}
#endif

#if defined(__GNUC__) && !defined(CGP_IN_ONE_MODULE)
#pragma GCC visibility pop
#endif

#endif
