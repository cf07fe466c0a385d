/* Scratch memory, the active part of a genome, its costs. */
#include "evaluation/workspace.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

cgp_status workspace_new(const cgp_problem *problem, workspace **made) {
    const size_t n_gates = (size_t)problem->n_gates, n_pins = (size_t)problem->n_pins;
    workspace *work = calloc(1, sizeof *work);
    *made = NULL;
    if (work == NULL) {
        return CGP_NO_MEMORY;
    }
    work->problem = problem;
    work->stride = (size_t)problem->genes_per_gate;
    work->is_active = calloc(n_gates, 1);
    work->order = calloc(n_gates, sizeof *work->order);
    work->counts = calloc((size_t)problem->n_functions, sizeof *work->counts);
    work->stack = calloc(n_gates, sizeof *work->stack);
    work->uses = calloc(n_pins, sizeof *work->uses);
    work->column = calloc(n_pins, sizeof *work->column);
    work->free_column = calloc(n_gates, sizeof *work->free_column);
    work->program = calloc(n_gates, sizeof *work->program);
    work->outputs = calloc((size_t)problem->grid.n_outputs, sizeof *work->outputs);
    work->arrival = calloc(n_pins, sizeof *work->arrival);
    work->level = calloc(n_pins, sizeof *work->level);
    work->values = calloc(n_pins, value_size(problem->domain));
    if (work->is_active == NULL || work->order == NULL || work->counts == NULL || work->stack == NULL ||
        work->uses == NULL || work->column == NULL || work->free_column == NULL || work->program == NULL ||
        work->outputs == NULL || work->arrival == NULL || work->level == NULL || work->values == NULL) {
        workspace_free(work);
        return CGP_NO_MEMORY;
    }
    *made = work;
    return CGP_OK;
}

void workspace_free(workspace *work) {
    if (work != NULL) {
        free(work->is_active);
        free(work->order);
        free(work->counts);
        free(work->stack);
        free(work->uses);
        free(work->column);
        free(work->free_column);
        free(work->program);
        free(work->outputs);
        free(work->arrival);
        free(work->level);
        free(work->columns);
        free(work->values);
        free(work);
    }
}

/* With recurrent connections a reader may come before what it reads: a search instead of a sweep. */
static void mark_by_search(workspace *work, const int32_t *genes) {
    const cgp_problem *problem = work->problem;
    const int32_t n_in = problem->grid.n_inputs, arity = problem->grid.arity;
    const int32_t *outputs = genes + (size_t)problem->n_gates * work->stride;
    size_t depth = 0;
    for (int32_t o = 0; o < problem->grid.n_outputs; o++) {
        const int32_t gate = outputs[o] - n_in;
        if (gate >= 0 && !work->is_active[gate]) {
            work->is_active[gate] = 1;
            work->stack[depth++] = gate;
        }
    }
    while (depth > 0) {
        const int32_t *gene = genes + (size_t)work->stack[--depth] * work->stride;
        for (int32_t k = 0; k < problem->reads[gene[arity]]; k++) {
            const int32_t gate = gene[k] - n_in;
            if (gate >= 0 && !work->is_active[gate]) {
                work->is_active[gate] = 1;
                work->stack[depth++] = gate;
            }
        }
    }
}

static void mark_by_sweep(workspace *work, const int32_t *genes) {
    const cgp_problem *problem = work->problem;
    const int32_t n_in = problem->grid.n_inputs, arity = problem->grid.arity;
    const int32_t *outputs = genes + (size_t)problem->n_gates * work->stride;
    int32_t last = -1;
    for (int32_t o = 0; o < problem->grid.n_outputs; o++) {
        const int32_t gate = outputs[o] - n_in;
        if (gate >= 0) {
            work->is_active[gate] = 1;
            last = gate > last ? gate : last;
        }
    }
    for (int32_t gate = last; gate >= 0; gate--) {
        if (work->is_active[gate]) {
            const int32_t *gene = genes + (size_t)gate * work->stride;
            for (int32_t k = 0; k < problem->reads[gene[arity]]; k++) {
                if (gene[k] >= n_in) {
                    work->is_active[gene[k] - n_in] = 1;
                }
            }
        }
    }
}

void find_active(workspace *work, const int32_t *genes) {
    const cgp_problem *problem = work->problem;
    memset(work->is_active, 0, (size_t)problem->n_gates);
    memset(work->counts, 0, (size_t)problem->n_functions * sizeof *work->counts);
    if (problem->grid.recurrent > 0.0) {
        mark_by_search(work, genes);
    } else {
        mark_by_sweep(work, genes);
    }
    work->n_active = 0;
    for (int32_t gate = 0; gate < problem->n_gates; gate++) {
        if (work->is_active[gate]) {
            work->order[work->n_active++] = gate;
            work->counts[genes[(size_t)gate * work->stride + (size_t)problem->grid.arity]]++;
        }
    }
}

void longest_path(workspace *work, const int32_t *genes, cgp_score *score) {
    const cgp_problem *problem = work->problem;
    const int32_t n_in = problem->grid.n_inputs, arity = problem->grid.arity;
    for (int32_t i = 0; i < work->n_active; i++) {
        const int32_t gate = work->order[i];
        const int32_t *gene = genes + (size_t)gate * work->stride;
        const int32_t function = gene[arity];
        double arrival = 0.0;
        int32_t level = 0;
        for (int32_t k = 0; k < problem->reads[function]; k++) {
            /* a recurrent connection brings the value of the sample before: no path in this one */
            if (gene[k] >= n_in && gene[k] - n_in < gate) {
                arrival = work->arrival[gene[k]] > arrival ? work->arrival[gene[k]] : arrival;
                level = work->level[gene[k]] > level ? work->level[gene[k]] : level;
            }
        }
        work->arrival[n_in + gate] = arrival + problem->delay[function];
        work->level[n_in + gate] = level + problem->is_gate[function];
    }
    const int32_t *outputs = genes + (size_t)problem->n_gates * work->stride;
    score->delay = 0.0;
    score->depth = 0;
    for (int32_t o = 0; o < problem->grid.n_outputs; o++) {
        if (outputs[o] >= n_in) {
            score->delay = work->arrival[outputs[o]] > score->delay ? work->arrival[outputs[o]] : score->delay;
            score->depth = work->level[outputs[o]] > score->depth ? work->level[outputs[o]] : score->depth;
        }
    }
}

cgp_status score_genome(workspace *work, const int32_t *genes, cgp_score *score) {
    double sum = 0.0;
    find_active(work, genes);
    cost_of_counts(work->problem, work->counts, score);
    longest_path(work, genes, score);
    if (!work->problem->has_data) {
        score->error = NAN;
        return CGP_OK;
    }
    const cgp_status status = sum_of_errors(work, genes, INFINITY, &sum);
    score->error = error_of_sum(work->problem, sum);
    return status;
}
