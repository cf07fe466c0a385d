/* Memory of a circuit: its arrays, the trail, lists of changed genes. */
#include <stdlib.h>

#include "circuit/circuit.h"

int circuit_grow_trail(circuit *c) {
    const size_t capacity = c->trail_capacity * 2 + 1024;
    trail_entry *trail = realloc(c->trail, capacity * sizeof *trail);
    if (trail == NULL) {
        c->is_out_of_memory = 1;
        return 0;
    }
    c->trail = trail;
    c->trail_capacity = capacity;
    return 1;
}

int change_list_add(change_list *list, int32_t slot, int32_t value) {
    if (list->n == list->capacity) {
        const size_t capacity = list->capacity * 2 + 64;
        gene_change *items = realloc(list->items, capacity * sizeof *items);
        if (items == NULL) {
            return 0;
        }
        list->items = items;
        list->capacity = capacity;
    }
    list->items[list->n++] = (gene_change){slot, value};
    return 1;
}

cgp_status circuit_new(const cgp_problem *problem, cgp_rng *rng, int is_rippling, circuit **made) {
    const size_t n_gates = (size_t)problem->n_gates, n_pins = (size_t)problem->n_pins;
    const size_t n_out = (size_t)problem->grid.n_outputs;
    circuit *c = calloc(1, sizeof *c);
    *made = NULL;
    if (c == NULL) {
        return CGP_NO_MEMORY;
    }
    c->problem = problem;
    c->rng = rng;
    while ((1 << c->shift) < problem->genes_per_gate) {
        c->shift++;
    }
    const size_t n_slots = (n_gates << c->shift) + n_out;
    if (n_slots > INT32_MAX / 2) {
        free(c);
        return CGP_BAD_GRID;
    }
    c->first_output = (int32_t)(n_gates << c->shift);
    c->n_slots = (int32_t)n_slots;
    c->is_rippling = is_rippling;
    c->n_samples = is_rippling ? problem->samples.n_samples : 0;
    c->n_words = (n_gates + 63) / 64;
    c->n_cells = 3 * n_slots + n_pins + 2 * n_gates + (size_t)problem->n_functions + 1 + (n_gates + 31) / 32;
    c->cells = calloc(c->n_cells, sizeof *c->cells);
    c->touched = calloc(n_gates, sizeof *c->touched);
    c->moved = calloc(n_out, sizeof *c->moved);
    c->changed_outputs = calloc(n_out, sizeof *c->changed_outputs);
    c->stack = calloc(n_gates, sizeof *c->stack);
    c->pending = calloc(c->n_words, sizeof *c->pending);
    c->pending_words = calloc((c->n_words + 63) / 64, sizeof *c->pending_words);
    c->value = calloc(n_pins * c->n_samples + 1, sizeof *c->value);
    c->output_error = calloc(n_out, sizeof *c->output_error);
    c->old_outputs = calloc(n_out, sizeof *c->old_outputs);
    c->old_errors = calloc(n_out, sizeof *c->old_errors);
    if (c->cells == NULL || c->touched == NULL || c->moved == NULL || c->changed_outputs == NULL || c->stack == NULL ||
        c->pending == NULL || c->pending_words == NULL || c->value == NULL ||
        c->output_error == NULL || c->old_outputs == NULL || c->old_errors == NULL || !circuit_grow_trail(c)) {
        circuit_free(c);
        return CGP_NO_MEMORY;
    }
    c->gene = c->cells;
    c->next = c->gene + n_slots;
    c->prev = c->next + n_slots;
    c->head = c->prev + n_slots;
    c->perm = c->head + n_pins;
    c->pos = c->perm + n_gates;
    c->counts = c->pos + n_gates;
    c->n_active = c->counts + problem->n_functions;
    c->active = c->n_active + 1;
    for (size_t i = 0; i < (size_t)problem->grid.n_inputs; i++) {
        for (size_t s = 0; s < c->n_samples; s++) {
            c->value[i * c->n_samples + s] = ((const int8_t *)problem->samples.inputs)[i * problem->samples.n_padded + s];
        }
    }
    *made = c;
    return CGP_OK;
}

void circuit_free(circuit *c) {
    if (c != NULL) {
        free(c->cells);
        free(c->trail);
        free(c->touched);
        free(c->moved);
        free(c->changed_outputs);
        free(c->stack);
        free(c->revealed.items);
        free(c->pending);
        free(c->pending_words);
        free(c->value);
        free(c->output_error);
        free(c->old_pins);
        free(c->old_values);
        free(c->old_outputs);
        free(c->old_errors);
        free(c);
    }
}
