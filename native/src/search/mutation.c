/* The five mutations, on a circuit in place and on a genome. */
#include <math.h>
#include <string.h>

#include "search/strategy.h"

int32_t redraws_of_rate(const cgp_problem *problem, cgp_mutation mutation, double rate) {
    const double n = rate * (double)problem->n_genes;
    if (mutation == CGP_POINT) {
        return n < 1.5 ? 1 : (int32_t)(n + 0.5);
    }
    return (int32_t)ceil(n);
}

/* Genes of active gates, read or not, and of outputs: those whose redraw cannot wait. */
static int32_t n_visible(const circuit *c) {
    return *c->n_active * c->problem->genes_per_gate + c->problem->grid.n_outputs;
}

static int32_t visible_slot(const circuit *c, int32_t index) {
    const int32_t size = c->problem->genes_per_gate, of_gates = *c->n_active * size;
    if (index >= of_gates) {
        return slot_of_output(c, index - of_gates);
    }
    return (c->perm[index / size] << c->shift) | (index % size);
}

static int32_t random_value(circuit *c, int32_t slot) {
    if (slot >= c->first_output) {
        return random_connection(c->problem, c->rng, c->problem->grid.cols);
    }
    return random_gate_gene(c->problem, c->rng, slot >> c->shift, slot & ((1 << c->shift) - 1));
}

static int add_hit(circuit *c, change_list *hits, int32_t index) {
    const int32_t slot = visible_slot(c, index);
    return change_list_add(hits, slot, random_value(c, slot));
}

/* An active gene: a function, a connection that the function reads, an output. */
static int is_read(const circuit *c, int32_t slot) {
    const int32_t arity = c->problem->grid.arity, k = slot & ((1 << c->shift) - 1);
    return slot >= c->first_output || k == arity ||
           k < c->problem->reads[c->gene[((slot >> c->shift) << c->shift) | arity]];
}

static int draw_count(circuit *c, change_list *hits, int64_t n_redraws) {
    const int32_t visible = n_visible(c), all = c->problem->n_genes;
    const double share = (double)visible / (double)all;
    int64_t n_hits = 0;
    if (share > 0.15) {
        for (int64_t i = 0; i < n_redraws; i++) {
            const int32_t index = (int32_t)random_below(c->rng, (uint32_t)all);
            if (index < visible) {
                n_hits++;
                if (!add_hit(c, hits, index)) {
                    return 0;
                }
            }
        }
    } else {
        const double log_miss = log1p(-share);
        for (double at = geometric_skip(c->rng, log_miss); at < (double)n_redraws;
             at += 1.0 + geometric_skip(c->rng, log_miss)) {
            n_hits++;
            if (!add_hit(c, hits, (int32_t)random_below(c->rng, (uint32_t)visible))) {
                return 0;
            }
        }
    }
    c->hidden.n_redraws = n_redraws - n_hits;
    c->hidden.n_genes = (int64_t)all - visible;
    return 1;
}

static int draw_by_rate(circuit *c, change_list *hits, double rate, int is_only_active) {
    const double visible = (double)n_visible(c), log_miss = log1p(-rate);
    for (double at = geometric_skip(c->rng, log_miss); at < visible; at += 1.0 + geometric_skip(c->rng, log_miss)) {
        const int32_t index = (int32_t)at;
        if (is_only_active && !is_read(c, visible_slot(c, index))) {
            continue;
        }
        if (!add_hit(c, hits, index)) {
            return 0;
        }
    }
    c->hidden.is_by_rate = !is_only_active;
    return 1;
}

static int draw_until_active(circuit *c, change_list *hits) {
    const int32_t visible = n_visible(c), all = c->problem->n_genes;
    const double log_miss = log1p(-(double)visible / (double)all);
    c->hidden.n_genes = (int64_t)all - visible;
    /* where no active gene has a second value the search for one must end */
    for (int32_t tries = 0; tries < 100 + 20 * (visible > 1000000 ? 1000000 : visible); tries++) {
        c->hidden.n_redraws += visible == all ? 0 : (int64_t)geometric_skip(c->rng, log_miss);
        const int32_t slot = visible_slot(c, (int32_t)random_below(c->rng, (uint32_t)visible));
        const int32_t value = random_value(c, slot);
        if (!change_list_add(hits, slot, value)) {
            return 0;
        }
        if (value != c->gene[slot] && is_read(c, slot)) {
            break;
        }
    }
    return 1;
}

int draw_hits(circuit *c, const cgp_settings *settings, change_list *hits) {
    const int32_t n = redraws_of_rate(c->problem, settings->mutation, settings->rate);
    hits->n = 0;
    c->hidden = (hidden_redraws){1, 0, settings->rate, 0, 0};
    switch (settings->mutation) {
        case CGP_UNIFORM_COUNT: return draw_count(c, hits, (int64_t)random_below(c->rng, (uint32_t)n + 1));
        case CGP_POINT: return draw_count(c, hits, n);
        case CGP_PROBABILISTIC: return draw_by_rate(c, hits, settings->rate, 0);
        case CGP_ONLY_ACTIVE: return draw_by_rate(c, hits, settings->rate, 1);
        default: return draw_until_active(c, hits);
    }
}

static int is_active_gene(const cgp_problem *problem, const uint8_t *is_active, const int32_t *parent, int32_t gene) {
    const int32_t size = problem->genes_per_gate, gate = gene / size, k = gene % size;
    if (gate >= problem->n_gates) {
        return 1;
    }
    return is_active[gate] && (k == problem->grid.arity ||
                               k < problem->reads[parent[(size_t)gate * (size_t)size + (size_t)problem->grid.arity]]);
}

int mutate_genome(const cgp_problem *problem, cgp_mutation mutation, double rate, cgp_rng *rng,
                  const uint8_t *is_active, int32_t *genes) {
    const int32_t n_genes = problem->n_genes, n = redraws_of_rate(problem, mutation, rate);
    int has_changed = 0;
    if (mutation == CGP_UNIFORM_COUNT || mutation == CGP_POINT) {
        const int32_t n_redraws = mutation == CGP_POINT ? n : (int32_t)random_below(rng, (uint32_t)n + 1);
        for (int32_t i = 0; i < n_redraws; i++) {
            const int32_t gene = (int32_t)random_below(rng, (uint32_t)n_genes), value = random_gene(problem, rng, gene);
            /* once a function has changed, more genes may be active: then the child has changed anyway */
            has_changed |= genes[gene] != value && is_active_gene(problem, is_active, genes, gene);
            genes[gene] = value;
        }
    } else if (mutation == CGP_SINGLE) {
        for (int64_t i = 0; !has_changed && i < 100 + 20 * (int64_t)n_genes; i++) {
            const int32_t gene = (int32_t)random_below(rng, (uint32_t)n_genes), value = random_gene(problem, rng, gene);
            has_changed = genes[gene] != value && is_active_gene(problem, is_active, genes, gene);
            genes[gene] = value;
        }
    } else {
        const double log_miss = log1p(-rate);
        for (double at = geometric_skip(rng, log_miss); at < (double)n_genes; at += 1.0 + geometric_skip(rng, log_miss)) {
            const int32_t gene = (int32_t)at;
            const int is_active_one = is_active_gene(problem, is_active, genes, gene);
            if (mutation == CGP_ONLY_ACTIVE && !is_active_one) {
                continue;
            }
            const int32_t value = random_gene(problem, rng, gene);
            has_changed |= genes[gene] != value && is_active_one;
            genes[gene] = value;
        }
    }
    return has_changed;
}

cgp_status cgp_mutate(const cgp_problem *problem, cgp_mutation mutation, double rate, size_t n, uint64_t *rng,
                      const int32_t *parents, int32_t *children) {
    const size_t n_genes = (size_t)problem->n_genes;
    workspace *work = NULL;
    cgp_rng state;
    if (!(rate >= 0.0 && rate <= 1.0) || (int)mutation < 0 || mutation > CGP_ONLY_ACTIVE) {
        return CGP_BAD_SETTING;
    }
    cgp_status status = check_genomes(problem, n, parents);
    if (status == CGP_OK) {
        status = workspace_new(problem, &work);
    }
    if (status != CGP_OK) {
        return status;
    }
    memcpy(&state, rng, sizeof state);
    memcpy(children, parents, n * n_genes * sizeof *children);
    for (size_t i = 0; i < n; i++) {
        find_active(work, parents + i * n_genes);
        mutate_genome(problem, mutation, rate, &state, work->is_active, children + i * n_genes);
    }
    memcpy(rng, &state, sizeof state);
    workspace_free(work);
    return CGP_OK;
}
