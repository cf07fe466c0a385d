/* The structure of a circuit under change: readers of pins, active gates. */
#include "circuit/circuit.h"

#include <string.h>

static inline void mark_gate(circuit *c, int32_t gate) {
    if (c->is_rippling) {
        mark_pending(c, gate);
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
