/* Termination: generations counted, patience and targets checked. */
#include "search/strategy.h"

void check_targets(cgp_strategy *strategy, const candidate_score *best) {
    const cgp_settings *settings = &strategy->settings;
    if (settings->has_targets && best->score.error <= settings->target_error &&
        best->score.energy_pj <= settings->target_energy_pj && (double)best->score.n_gates <= settings->target_n_gates) {
        strategy->counts.stop = CGP_TARGETS_REACHED;
    }
}

void count_generation(cgp_strategy *strategy, int has_improved, const candidate_score *best) {
    strategy->counts.n_gen++;
    strategy->counts.n_gen_stalled = has_improved ? 0 : strategy->counts.n_gen_stalled + 1;
    if (strategy->settings.patience > 0 && strategy->counts.n_gen_stalled >= strategy->settings.patience) {
        strategy->counts.stop = CGP_OUT_OF_PATIENCE;
    }
    check_targets(strategy, best);
}
