/* The parent of a (1 + lambda) search, changed in place.
 *
 * Every write to its structure goes through a trail, so that a rejected child is undone at the price of its changes.
 * Each pin has the list of its readers: used connections of active gates, and outputs. A gate is active exactly while
 * that list is not empty, so that the active part, its cost, and what lies downstream of a change need no sweep.
 *
 * Genes of inactive gates are redrawn late. A child's redraws of them are only counted; they become values when a
 * changed connection makes such a gate active, and otherwise when the child is chosen. Both draw from the exact
 * conditional distribution, so the search is the same in law as one that redraws at once. */
#ifndef CGP_CIRCUIT_H
#define CGP_CIRCUIT_H

#include "problem/problem.h"

typedef struct {
    int32_t slot, value;
} gene_change;

typedef struct {
    gene_change *items;
    size_t n, capacity;
} change_list;

typedef struct {
    int32_t *cell;
    int32_t old;
} trail_entry;

/* Redraws that inactive genes have yet to receive. */
typedef struct {
    int is_drawing;     /* off while a circuit is built or a child is repeated */
    int is_by_rate;     /* each gene with probability `rate`; else n_redraws spread over n_genes */
    double rate;
    int64_t n_redraws;
    int64_t n_genes;
} hidden_redraws;

typedef struct {
    const cgp_problem *problem;
    cgp_rng *rng;
    int32_t shift;        /* slot of gene k of a gate: gate << shift | k */
    int32_t first_output; /* slot of the first output */
    int32_t n_slots;
    size_t n_cells;
    int32_t *cells;       /* all of the arrays below, which the trail can restore */
    int32_t *gene;        /* (n_slots,) */
    int32_t *next, *prev; /* (n_slots,) readers of a pin; prev of the first is ~pin */
    int32_t *head;        /* (n_pins,) first reader or -1 */
    int32_t *perm, *pos;  /* (n_gates,) active gates come first in perm; pos is its inverse */
    int32_t *counts;      /* (n_functions,) active gates by function */
    int32_t *n_active;    /* (1,) */
    int32_t *active;      /* ((n_gates + 31) / 32,) a bit per gate */
    trail_entry *trail;
    size_t n_trail, trail_capacity;
    uint32_t stamp;
    uint32_t *touched;    /* (n_gates,) stamp of the child in which it last became active or inactive */
    uint32_t *moved;      /* (n_outputs,) stamp of the child in which it was last listed as changed */
    int32_t *changed_outputs;
    size_t n_changed_outputs;
    int32_t *stack;       /* (n_gates,) */
    hidden_redraws hidden;
    change_list revealed; /* late redraws of this child */
    int is_rippling;      /* values are kept, and changed gates marked in `pending` */
    uint64_t *pending, *pending_words;
    size_t n_words;       /* of `pending` */
    /* int8 values */
    size_t n_samples;
    int8_t *value;        /* (n_pins, n_samples) */
    int64_t *output_error;/* (n_outputs,) */
    int64_t sum;
    int32_t *old_pins;
    int8_t *old_values;
    size_t n_old, old_capacity;
    int32_t *old_outputs; /* (n_outputs,) */
    int64_t *old_errors;  /* (n_outputs,) */
    size_t n_old_outputs;
    int64_t old_sum;
    int64_t n_node_evals;
    int is_out_of_memory; /* a list could not grow: the circuit is no longer usable */
} circuit;

/* memory.c */
cgp_status circuit_new(const cgp_problem *problem, cgp_rng *rng, int is_rippling, circuit **made);
void circuit_free(circuit *c);

/* Room for more entries of the trail; 0 when there is no memory. */
int circuit_grow_trail(circuit *c);

/* Adds an entry; 0 when there is no memory. */
int change_list_add(change_list *list, int32_t slot, int32_t value);

/* circuit.c */

/* Takes a whole genome, in the order of genes of the interface. */
void circuit_set(circuit *c, const int32_t *genes);
void circuit_get(const circuit *c, int32_t *genes);

/* Starts a child: what follows can be undone. */
void circuit_begin(circuit *c);

/* Writes a gene; 1 when the active part has changed. */
int circuit_change(circuit *c, int32_t slot, int32_t value);

/* Writes a gene of an inactive gate, or one that its gate does not read. */
void circuit_write(circuit *c, int32_t slot, int32_t value);

void circuit_undo(circuit *c);
void circuit_keep(circuit *c);

/* hidden.c */

/* Redraws that fell on a gate which has just become active, given that nothing is known of it yet: a binomial share of
 * those left. */
void hidden_reveal(circuit *c, int32_t gate);

/* Gives the redraws still hidden to inactive gates; call after the child is chosen and kept. */
void circuit_redraw_hidden(circuit *c);

/* ripple.c */

/* Values of the gates downstream of the changes, and the sum of errors. */
void ripple(circuit *c);
void ripple_clear(circuit *c);
void ripple_undo(circuit *c);

/* Writes a cell of the structure, so that it can be undone. */
static inline void put(circuit *c, int32_t *cell, int32_t value) {
    if (c->n_trail == c->trail_capacity && !circuit_grow_trail(c)) {
        return;
    }
    c->trail[c->n_trail++] = (trail_entry){cell, *cell};
    *cell = value;
}

static inline int32_t slot_of_output(const circuit *c, int32_t output) {
    return c->first_output + output;
}

/* A gate whose values are to be computed again. */
static inline void mark_pending(circuit *c, int32_t gate) {
    const size_t word = (size_t)gate / 64;
    c->pending[word] |= UINT64_C(1) << (gate % 64);
    c->pending_words[word / 64] |= UINT64_C(1) << (word % 64);
}

/* An output whose error is to be computed again. */
static inline void mark_output(circuit *c, int32_t output) {
    if (c->moved[output] != c->stamp) {
        c->moved[output] = c->stamp;
        c->changed_outputs[c->n_changed_outputs++] = output;
    }
}

static inline int is_gate_active(const circuit *c, int32_t gate) {
    return c->pos[gate] < *c->n_active;
}

#endif
