/* Lazy mutation: genes of inactive gates are redrawn when the gate becomes active, or when the child is chosen. */
#include <math.h>

#include "circuit/circuit.h"

/* Redraws one gene of a gate that has just become active. */
static void reveal_gene(circuit *c, int32_t gate, int32_t k) {
    const int32_t slot = (gate << c->shift) | k;
    const int32_t value = random_gate_gene(c->problem, c->rng, gate, k);
    put(c, &c->gene[slot], value);
    if (!change_list_add(&c->revealed, slot, value)) {
        c->is_out_of_memory = 1;
    }
}

void hidden_reveal(circuit *c, int32_t gate) {
    hidden_redraws *hidden = &c->hidden;
    const int32_t size = c->problem->genes_per_gate;
    if (hidden->is_by_rate) {
        for (int32_t k = 0; k < size; k++) {
            if (random_unit(c->rng) < hidden->rate) {
                reveal_gene(c, gate, k);
            }
        }
        return;
    }
    if (hidden->n_redraws > 0) {
        const double share = (double)size / (double)hidden->n_genes;
        int64_t n_hits = 0;
        if (share >= 1.0) {
            n_hits = hidden->n_redraws;
        } else {
            /* one miss of all has probability (1 - share)^n >= 1 - share * n: most gates need no logarithm */
            const double u = random_unit(c->rng), log_miss = log1p(-share);
            if (u < share * (double)hidden->n_redraws) {
                double at = floor(log(1.0 - u) / log_miss);
                while (at < (double)hidden->n_redraws) {
                    n_hits++;
                    at += 1.0 + geometric_skip(c->rng, log_miss);
                }
            }
        }
        hidden->n_redraws -= n_hits;
        for (; n_hits > 0; n_hits--) {
            reveal_gene(c, gate, (int32_t)random_below(c->rng, (uint32_t)size));
        }
    }
    hidden->n_genes -= size;
}

void circuit_redraw_hidden(circuit *c) {
    const int32_t n_hidden = c->problem->n_gates - *c->n_active, size = c->problem->genes_per_gate;
    hidden_redraws *hidden = &c->hidden;
    if (hidden->is_by_rate) {
        const double n = (double)n_hidden * (double)size, log_miss = log1p(-hidden->rate);
        for (double at = geometric_skip(c->rng, log_miss); at < n; at += 1.0 + geometric_skip(c->rng, log_miss)) {
            const int64_t index = (int64_t)at;
            const int32_t gate = c->perm[*c->n_active + (int32_t)(index / size)], k = (int32_t)(index % size);
            if (c->touched[gate] != c->stamp) {
                c->gene[(gate << c->shift) | k] = random_gate_gene(c->problem, c->rng, gate, k);
            }
        }
        return;
    }
    while (hidden->n_redraws > 0) {
        const uint64_t bits = random_bits(c->rng);
        const int32_t i = (int32_t)(((bits >> 32) * (uint64_t)n_hidden) >> 32);
        const int32_t k = (int32_t)(((bits & UINT32_MAX) * (uint64_t)size) >> 32);
        const int32_t gate = c->perm[*c->n_active + i];
        if (c->touched[gate] != c->stamp) {
            c->gene[(gate << c->shift) | k] = random_gate_gene(c->problem, c->rng, gate, k);
            hidden->n_redraws--;
        }
    }
}
