/* The structure of a circuit under change: readers, active gates, the trail. */
#include "circuit.h"

#include <stdlib.h>
#include <string.h>

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

static inline void mark_gate(circuit *c, int32_t gate) {
    if (c->is_rippling) {
        const size_t word = (size_t)gate / 64;
        c->pending[word] |= UINT64_C(1) << (gate % 64);
        c->pending_words[word / 64] |= UINT64_C(1) << (word % 64);
    }
}

static inline void mark_output(circuit *c, int32_t output) {
    if (c->moved[output] != c->stamp) {
        c->moved[output] = c->stamp;
        c->changed_outputs[c->n_changed_outputs++] = output;
    }
}

static inline void flip_active(circuit *c, int32_t gate) {
    int32_t *word = &c->active[gate / 32];
    put(c, word, (int32_t)((uint32_t)*word ^ (UINT32_C(1) << (gate % 32))));
}

static void move_in_perm(circuit *c, int32_t gate, int32_t to) {
    const int32_t from = c->pos[gate], other = c->perm[to];
    if (from != to) {
        put(c, &c->perm[to], gate);
        put(c, &c->perm[from], other);
        put(c, &c->pos[gate], to);
        put(c, &c->pos[other], from);
    }
}

static inline void link_reader(circuit *c, int32_t slot, int32_t pin) {
    const int32_t first = c->head[pin];
    put(c, &c->next[slot], first);
    put(c, &c->prev[slot], ~pin);
    if (first >= 0) {
        put(c, &c->prev[first], slot);
    }
    put(c, &c->head[pin], slot);
}

static inline void unlink_reader(circuit *c, int32_t slot) {
    const int32_t before = c->prev[slot], after = c->next[slot];
    put(c, before < 0 ? &c->head[~before] : &c->next[before], after);
    if (after >= 0) {
        put(c, &c->prev[after], before);
    }
}

/* A pin that nobody reads yet belongs to a gate that its first reader wakes; not so the pin that a moved connection has
 * just left, whose gate is still active until `release`. */
static inline int is_asleep(const circuit *c, int32_t pin) {
    return c->head[pin] < 0 && pin >= c->problem->grid.n_inputs && !is_gate_active(c, pin - c->problem->grid.n_inputs);
}

/* Adds a reader to a pin; the gate behind it, and whatever that reads, may become active. */
static void connect(circuit *c, int32_t slot, int32_t pin) {
    const int32_t n_in = c->problem->grid.n_inputs, arity = c->problem->grid.arity;
    size_t depth = 0;
    int is_new = is_asleep(c, pin);
    link_reader(c, slot, pin);
    if (is_new) {
        c->stack[depth++] = pin - n_in;
    }
    while (depth > 0) {
        const int32_t gate = c->stack[--depth];
        const int32_t base = gate << c->shift;
        if (c->hidden.is_drawing && c->touched[gate] != c->stamp) {
            hidden_reveal(c, gate);
        }
        c->touched[gate] = c->stamp;
        move_in_perm(c, gate, *c->n_active);
        put(c, c->n_active, *c->n_active + 1);
        flip_active(c, gate);
        const int32_t function = c->gene[base | arity];
        put(c, &c->counts[function], c->counts[function] + 1);
        mark_gate(c, gate);
        for (int32_t k = 0; k < c->problem->reads[function]; k++) {
            const int32_t source = c->gene[base | k];
            is_new = is_asleep(c, source);
            link_reader(c, base | k, source);
            if (is_new) {
                c->stack[depth++] = source - n_in;
            }
        }
    }
}

/* After a reader of `pin` has gone: the gate behind it, and whatever only that read, becomes inactive. */
static void release(circuit *c, int32_t pin) {
    const int32_t n_in = c->problem->grid.n_inputs, arity = c->problem->grid.arity;
    size_t depth = 0;
    if (c->head[pin] < 0 && pin >= n_in) {
        c->stack[depth++] = pin - n_in;
    }
    while (depth > 0) {
        const int32_t gate = c->stack[--depth];
        const int32_t base = gate << c->shift;
        c->touched[gate] = c->stamp;
        put(c, c->n_active, *c->n_active - 1);
        move_in_perm(c, gate, *c->n_active);
        flip_active(c, gate);
        const int32_t function = c->gene[base | arity];
        put(c, &c->counts[function], c->counts[function] - 1);
        for (int32_t k = 0; k < c->problem->reads[function]; k++) {
            const int32_t source = c->gene[base | k];
            unlink_reader(c, base | k);
            if (c->head[source] < 0 && source >= n_in) {
                c->stack[depth++] = source - n_in;
            }
        }
    }
}

void circuit_set(circuit *c, const int32_t *genes) {
    const cgp_problem *problem = c->problem;
    memset(c->active, 0, (size_t)(problem->n_gates + 31) / 32 * sizeof *c->active);
    memset(c->counts, 0, (size_t)problem->n_functions * sizeof *c->counts);
    *c->n_active = 0;
    for (int32_t gate = 0; gate < problem->n_gates; gate++) {
        c->perm[gate] = c->pos[gate] = gate;
        memcpy(&c->gene[gate << c->shift], genes + (size_t)gate * (size_t)problem->genes_per_gate,
               (size_t)problem->genes_per_gate * sizeof *genes);
    }
    for (int32_t pin = 0; pin < problem->n_pins; pin++) {
        c->head[pin] = -1;
    }
    c->hidden.is_drawing = 0;
    ripple_clear(c);
    circuit_begin(c);
    const int32_t *outputs = genes + (size_t)problem->n_gates * (size_t)problem->genes_per_gate;
    memset(c->output_error, 0, (size_t)problem->grid.n_outputs * sizeof *c->output_error);
    c->sum = 0;
    for (int32_t o = 0; o < problem->grid.n_outputs; o++) {
        c->gene[slot_of_output(c, o)] = outputs[o];
        connect(c, slot_of_output(c, o), outputs[o]);
        mark_output(c, o);
        circuit_keep(c);
    }
    if (c->is_rippling) {
        ripple(c);
    }
    circuit_keep(c);
}

void circuit_get(const circuit *c, int32_t *genes) {
    const cgp_problem *problem = c->problem;
    const size_t size = (size_t)problem->genes_per_gate;
    for (int32_t gate = 0; gate < problem->n_gates; gate++) {
        memcpy(genes + (size_t)gate * size, &c->gene[gate << c->shift], size * sizeof *genes);
    }
    memcpy(genes + (size_t)problem->n_gates * size, &c->gene[c->first_output],
           (size_t)problem->grid.n_outputs * sizeof *genes);
}

void circuit_begin(circuit *c) {
    c->n_trail = 0;
    c->n_old = 0;
    c->n_old_outputs = 0;
    c->old_sum = c->sum;
    c->n_changed_outputs = 0;
    c->revealed.n = 0;
    if (++c->stamp == 0) {
        memset(c->touched, 0, (size_t)c->problem->n_gates * sizeof *c->touched);
        memset(c->moved, 0, (size_t)c->problem->grid.n_outputs * sizeof *c->moved);
        c->stamp = 1;
    }
}

void circuit_write(circuit *c, int32_t slot, int32_t value) {
    put(c, &c->gene[slot], value);
}

int circuit_change(circuit *c, int32_t slot, int32_t value) {
    const int32_t old = c->gene[slot], arity = c->problem->grid.arity;
    if (old == value) {
        return 0;
    }
    const int32_t k = slot & ((1 << c->shift) - 1), gate = slot >> c->shift;
    if (slot >= c->first_output) {
        mark_output(c, slot - c->first_output);
    } else if (!is_gate_active(c, gate)) {
        put(c, &c->gene[slot], value);
        return 0;
    } else if (k == arity) {
        const int32_t reads = c->problem->reads[value], base = gate << c->shift;
        put(c, &c->gene[slot], value);
        put(c, &c->counts[old], c->counts[old] - 1);
        put(c, &c->counts[value], c->counts[value] + 1);
        mark_gate(c, gate);
        for (int32_t i = c->problem->reads[old]; i < reads; i++) {
            connect(c, base | i, c->gene[base | i]);
        }
        for (int32_t i = reads; i < c->problem->reads[old]; i++) {
            unlink_reader(c, base | i);
            release(c, c->gene[base | i]);
        }
        return 1;
    } else if (k >= c->problem->reads[c->gene[(gate << c->shift) | arity]]) {
        put(c, &c->gene[slot], value);
        return 0;
    } else {
        mark_gate(c, gate);
    }
    put(c, &c->gene[slot], value);
    unlink_reader(c, slot);
    connect(c, slot, value); /* before release: what both read stays active */
    release(c, old);
    return 1;
}

void circuit_undo(circuit *c) {
    if (c->is_rippling) {
        ripple_undo(c);
    }
    for (size_t i = c->n_trail; i > 0; i--) {
        *c->trail[i - 1].cell = c->trail[i - 1].old;
    }
    c->n_trail = 0;
}

void circuit_keep(circuit *c) {
    c->n_trail = 0;
    c->n_old = 0;
    c->n_old_outputs = 0;
    c->old_sum = c->sum;
}
