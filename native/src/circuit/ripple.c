/* Incremental evaluation of int8 values: only what lies downstream of a change is computed again, and no further than
 * values differ. */
#include <stdlib.h>
#include <string.h>

#include "circuit/circuit.h"

static int remember(circuit *c, int32_t pin) {
    if (c->n_old == c->old_capacity) {
        const size_t capacity = c->old_capacity * 2 + 256;
        int32_t *pins = realloc(c->old_pins, capacity * sizeof *pins);
        if (pins != NULL) {
            c->old_pins = pins;
        }
        int8_t *values = realloc(c->old_values, capacity * c->n_samples);
        if (values != NULL) {
            c->old_values = values;
        }
        if (pins == NULL || values == NULL) {
            c->is_out_of_memory = 1;
            return 0;
        }
        c->old_capacity = capacity;
    }
    c->old_pins[c->n_old] = pin;
    memcpy(c->old_values + c->n_old * c->n_samples, c->value + (size_t)pin * c->n_samples, c->n_samples);
    c->n_old++;
    return 1;
}

static void mark_readers(circuit *c, int32_t pin) {
    for (int32_t slot = c->head[pin]; slot >= 0; slot = c->next[slot]) {
        if (slot >= c->first_output) {
            mark_output(c, slot - c->first_output);
        } else {
            mark_pending(c, slot >> c->shift);
        }
    }
}

/* The gate's new values; 1 when they differ from the old, which are then remembered. */
static int update_gate(circuit *c, int32_t gate) {
    const cgp_problem *problem = c->problem;
    const int32_t base = gate << c->shift, function = c->gene[base | problem->grid.arity];
    const int32_t reads = problem->reads[function], pin = problem->grid.n_inputs + gate;
    const size_t n = c->n_samples;
    const int8_t *a = c->value + (size_t)c->gene[base] * n;
    const int8_t *b = c->value + (size_t)c->gene[reads > 1 ? base | 1 : base] * n;
    int8_t *value = c->value + (size_t)pin * n;
    c->n_node_evals += (int64_t)n;
    if (n == 1) {
        const int8_t now = int8_apply(&problem->forms[0][function], *a, *b);
        if (now == *value || !remember(c, pin)) {
            return 0;
        }
        *value = now;
        return 1;
    }
    int has_changed = 0;
    for (size_t s = 0; s < n; s++) {
        const int32_t branch = problem->samples.branch[s];
        const int8_t now = reads > 2 ? c->value[(size_t)c->gene[base | branch] * n + s]
                                     : int8_apply(&problem->forms[branch != 0][function], a[s], b[s]);
        if (now != value[s]) {
            if (!has_changed && !remember(c, pin)) {
                return 0;
            }
            has_changed = 1;
            value[s] = now;
        }
    }
    return has_changed;
}

static int64_t error_of_output(const circuit *c, int32_t output) {
    const cgp_samples *samples = &c->problem->samples;
    const int8_t *value = c->value + (size_t)c->gene[slot_of_output(c, output)] * c->n_samples;
    const size_t at = (size_t)output * samples->n_padded;
    const int8_t *target = (const int8_t *)samples->targets + at;
    const int32_t *weight = samples->weights == NULL ? NULL : (const int32_t *)samples->weights + at;
    const int squared = is_squared(c->problem);
    int64_t sum = 0;
    for (size_t s = 0; s < c->n_samples; s++) {
        const int64_t d = (int64_t)value[s] - (int64_t)target[s];
        const int64_t term = squared ? d * d : d < 0 ? -d : d;
        sum += weight == NULL ? term : term * weight[s];
    }
    return sum;
}

void ripple(circuit *c) {
    for (size_t group = 0; group * 64 < c->n_words; group++) {
        while (c->pending_words[group] != 0) {
            const size_t word = group * 64 + (size_t)__builtin_ctzll(c->pending_words[group]);
            if (c->pending[word] == 0) {
                c->pending_words[group] &= c->pending_words[group] - 1;
                continue;
            }
            const int32_t gate = (int32_t)(word * 64) + __builtin_ctzll(c->pending[word]);
            c->pending[word] &= c->pending[word] - 1;
            if (is_gate_active(c, gate) && update_gate(c, gate)) {
                mark_readers(c, c->problem->grid.n_inputs + gate);
            }
        }
    }
    for (size_t i = 0; i < c->n_changed_outputs; i++) {
        const int32_t output = c->changed_outputs[i];
        const int64_t now = error_of_output(c, output), old = c->output_error[output];
        if (now != old) {
            c->old_outputs[c->n_old_outputs] = output;
            c->old_errors[c->n_old_outputs++] = old;
            c->output_error[output] = now;
            c->sum += now - old;
        }
    }
}

void ripple_clear(circuit *c) {
    for (size_t group = 0; group * 64 < c->n_words; group++) {
        while (c->pending_words[group] != 0) {
            c->pending[group * 64 + (size_t)__builtin_ctzll(c->pending_words[group])] = 0;
            c->pending_words[group] &= c->pending_words[group] - 1;
        }
    }
}

void ripple_undo(circuit *c) {
    const size_t n = c->n_samples;
    ripple_clear(c);
    for (size_t i = c->n_old; i > 0; i--) {
        memcpy(c->value + (size_t)c->old_pins[i - 1] * n, c->old_values + (i - 1) * n, n);
    }
    for (size_t i = c->n_old_outputs; i > 0; i--) {
        c->output_error[c->old_outputs[i - 1]] = c->old_errors[i - 1];
    }
    c->n_old = 0;
    c->n_old_outputs = 0;
    c->sum = c->old_sum;
}
