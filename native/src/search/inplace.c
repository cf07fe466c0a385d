/* A generation of (1 + lambda) on one circuit that is changed and undone. */
#include <math.h>
#include <string.h>

#include "search/strategy.h"

/* Active gates in order, for what needs a sweep: the longest path, and values block by block. */
static void gather_active(cgp_strategy *strategy) {
    const circuit *c = strategy->circuit;
    workspace *work = strategy->work;
    const int32_t n_words = (c->problem->n_gates + 31) / 32;
    work->n_active = 0;
    for (int32_t w = 0; w < n_words; w++) {
        for (uint32_t bits = (uint32_t)c->active[w]; bits != 0; bits &= bits - 1) {
            work->order[work->n_active++] = w * 32 + __builtin_ctz(bits);
        }
    }
}

static cgp_status measure_error(cgp_strategy *strategy, double bound, candidate_score *candidate) {
    circuit *c = strategy->circuit;
    cgp_status status = CGP_OK;
    if (c->is_rippling) {
        ripple(c);
        candidate->sum = (double)c->sum;
    } else {
        gather_active(strategy);
        status = sum_of_errors(strategy->work, c->gene, bound, &candidate->sum);
    }
    candidate->score.error = error_of_sum(c->problem, candidate->sum);
    return status;
}

static void measure_path(cgp_strategy *strategy, candidate_score *candidate) {
    gather_active(strategy);
    longest_path(strategy->work, strategy->circuit->gene, &candidate->score);
}

static double sum_of_error(const cgp_problem *problem, double error) {
    const int is_mean = problem->error == CGP_MSE || problem->error == CGP_MAE;
    return is_mean ? error * problem->samples.total_weight * (1.0 + 1e-9) : error;
}

/* The changed circuit against `rival`: -1 better, 0 equal, 1 worse; measures no more than that takes. */
static int judge(cgp_strategy *strategy, const candidate_score *rival, candidate_score *candidate, cgp_status *status) {
    const cgp_settings *settings = &strategy->settings;
    const cgp_score *other = &rival->score;
    cgp_score *score = &candidate->score;
    cost_of_counts(strategy->problem, strategy->circuit->counts, score);
    if (!(other->error <= settings->threshold)) {
        *status = measure_error(strategy, rival->sum, candidate);
        return score->error < other->error ? -1 : score->error > other->error;
    }
    if (score->energy_pj > other->energy_pj) {
        strategy->counts.n_dearer++;
        return 1;
    }
    const int is_cheaper = score->energy_pj < other->energy_pj;
    const double bound = is_cheaper ? sum_of_error(strategy->problem, settings->threshold) : rival->sum;
    *status = measure_error(strategy, bound, candidate);
    if (!(score->error <= settings->threshold)) {
        return 1;
    }
    if (is_cheaper || score->error < other->error) {
        return -1;
    }
    if (score->error > other->error) {
        return 1;
    }
    measure_path(strategy, candidate);
    return compare_candidates(settings, candidate, rival);
}

/* The chosen child once more, from its record. */
static cgp_status repeat_chosen(cgp_strategy *strategy) {
    circuit *c = strategy->circuit;
    const child_record *chosen = &strategy->chosen;
    circuit_begin(c);
    c->hidden.is_drawing = 0;
    for (size_t i = 0; i < chosen->revealed.n; i++) {
        circuit_write(c, chosen->revealed.items[i].slot, chosen->revealed.items[i].value);
    }
    for (size_t i = 0; i < chosen->hits.n; i++) {
        circuit_change(c, chosen->hits.items[i].slot, chosen->hits.items[i].value);
    }
    if (c->is_rippling) {
        ripple(c);
    }
    return c->is_out_of_memory ? CGP_NO_MEMORY : CGP_OK;
}

static void swap_records(child_record *a, child_record *b) {
    const child_record held = *a;
    *a = *b;
    *b = held;
}

static cgp_status make_child(cgp_strategy *strategy, child_record *record) {
    circuit *c = strategy->circuit;
    circuit_begin(c);
    if (!draw_hits(c, &strategy->settings, &record->hits)) {
        return CGP_NO_MEMORY;
    }
    record->is_changed = 0;
    for (size_t i = 0; i < record->hits.n; i++) {
        record->is_changed |= circuit_change(c, record->hits.items[i].slot, record->hits.items[i].value);
    }
    strategy->counts.n_candidates++;
    return c->is_out_of_memory ? CGP_NO_MEMORY : CGP_OK;
}

cgp_status inplace_generation(cgp_strategy *strategy) {
    circuit *c = strategy->circuit;
    const cgp_settings *settings = &strategy->settings;
    candidate_score rival = strategy->parent;
    int has_chosen = 0, has_improved = 0, is_in_place = 0;
    cgp_status status = CGP_OK;
    for (int32_t i = 0; i < settings->n_offspring; i++) {
        child_record *now = &strategy->now;
        status = make_child(strategy, now);
        if (status != CGP_OK) {
            return status;
        }
        int verdict = has_improved; /* a child without a change equals its parent */
        if (now->is_changed) {
            now->candidate = rival;
            verdict = judge(strategy, &rival, &now->candidate, &status);
            if (verdict < 0 && now->candidate.score.error <= settings->threshold) {
                measure_path(strategy, &now->candidate); /* the next child may tie with it */
            }
        } else {
            now->candidate = strategy->parent;
            strategy->counts.n_neutral++;
        }
        if (status != CGP_OK || c->is_out_of_memory) {
            return status != CGP_OK ? status : CGP_NO_MEMORY;
        }
        const int may_drift = settings->is_drifting || !(rival.score.error <= settings->threshold);
        if (verdict < 0 || (verdict == 0 && (may_drift || has_improved))) {
            now->hidden = c->hidden;
            const change_list spare = now->revealed;
            now->revealed = c->revealed; /* lists change hands, nothing is copied */
            c->revealed = spare;
            rival = now->candidate;
            has_improved |= verdict < 0;
            has_chosen = 1;
            swap_records(&strategy->now, &strategy->chosen);
            is_in_place = i == settings->n_offspring - 1;
        }
        if (!is_in_place) {
            circuit_undo(c);
        }
    }
    if (has_chosen) {
        if (!is_in_place) {
            status = repeat_chosen(strategy);
        }
        circuit_keep(c);
        c->hidden = strategy->chosen.hidden;
        circuit_redraw_hidden(c);
        if (strategy->chosen.is_changed) {
            strategy->parent = rival;
            cost_of_counts(c->problem, c->counts, &strategy->parent.score);
        }
    }
    count_generation(strategy, has_improved, &strategy->parent);
    return status;
}

cgp_status inplace_start(cgp_strategy *strategy, const int32_t *genes) {
    circuit *c = strategy->circuit;
    circuit_set(c, genes);
    strategy->work->stride = (size_t)1 << c->shift;
    cost_of_counts(c->problem, c->counts, &strategy->parent.score);
    measure_path(strategy, &strategy->parent);
    const cgp_status status = measure_error(strategy, INFINITY, &strategy->parent);
    return c->is_out_of_memory ? CGP_NO_MEMORY : status;
}
