/* Selection: which of two candidates is better. */
#include "search/strategy.h"

int compare_candidates(const cgp_settings *settings, const candidate_score *a, const candidate_score *b) {
    const cgp_score *x = &a->score, *y = &b->score;
    if (!(x->error <= settings->threshold) || !(y->error <= settings->threshold)) {
        return x->error < y->error ? -1 : x->error > y->error;
    }
    if (x->energy_pj < y->energy_pj || x->energy_pj > y->energy_pj) {
        return x->energy_pj < y->energy_pj ? -1 : 1;
    }
    if (x->error < y->error || x->error > y->error) {
        return x->error < y->error ? -1 : 1;
    }
    if (x->delay < y->delay || x->delay > y->delay) {
        return x->delay < y->delay ? -1 : 1;
    }
    return (x->n_gates > y->n_gates) - (x->n_gates < y->n_gates);
}
