/* Checks, copies and lays out what a problem is made of. */
#include "problem/problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

size_t value_size(cgp_domain domain) {
    return domain == CGP_INT8 ? sizeof(int8_t) : domain == CGP_FLOAT32 ? sizeof(float) : sizeof(double);
}

const char *cgp_status_text(cgp_status status) {
    switch (status) {
        case CGP_OK: return "no error";
        case CGP_NO_MEMORY: return "out of memory";
        case CGP_BAD_GRID: return "a grid needs at least one input, output, row, column, level back and connection per gate, "
                                  "and fewer than 2^31 genes";
        case CGP_BAD_FUNCTION: return "a function set needs 1 to 256 known functions that read no more inputs than a gate has";
        case CGP_BAD_COST: return "costs must be finite and not negative";
        case CGP_BAD_DATA: return "data need at least one sample, ordered sets, and weights that are not negative";
        case CGP_BAD_GENE: return "a gene is out of its range";
        case CGP_BAD_SETTING: return "a setting of the strategy is out of its range";
        case CGP_NO_DATA: return "the problem was made without data";
        case CGP_WRONG_ORDER: return "ask and tell take turns, and belong to strategies with custom errors";
        default: return "unknown status";
    }
}

static cgp_status set_grid(cgp_problem *problem, const cgp_grid *grid) {
    if (grid->n_inputs < 1 || grid->n_outputs < 1 || grid->rows < 1 || grid->cols < 1 || grid->levels_back < 1 ||
        grid->arity < 1 || !(grid->recurrent >= 0.0 && grid->recurrent <= 1.0)) {
        return CGP_BAD_GRID;
    }
    const double n_gates = (double)grid->rows * (double)grid->cols;
    const double n_genes = n_gates * ((double)grid->arity + 1.0) + (double)grid->n_outputs;
    if (n_genes + n_gates + (double)grid->n_inputs > 1e9 || grid->arity > 64) {
        return CGP_BAD_GRID;
    }
    problem->grid = *grid;
    problem->n_gates = grid->rows * grid->cols;
    problem->n_pins = grid->n_inputs + problem->n_gates;
    problem->genes_per_gate = grid->arity + 1;
    problem->n_genes = problem->n_gates * problem->genes_per_gate + grid->n_outputs;
    problem->ranges = calloc((size_t)grid->cols + 1, sizeof *problem->ranges);
    if (problem->ranges == NULL) {
        return CGP_NO_MEMORY;
    }
    /* column c (from 1) reads columns max(0, c - levels_back) .. c - 1, where column 0 are the inputs */
    for (int32_t c = 1; c <= grid->cols + 1; c++) {
        const int32_t first = c > grid->levels_back ? c - grid->levels_back : 0;
        const int32_t end = grid->n_inputs + (c - 1) * grid->rows;
        const int32_t low = first == 0 ? 0 : grid->n_inputs + (first - 1) * grid->rows;
        problem->ranges[c - 1] = (pin_range){low, end - low};
    }
    return CGP_OK;
}

static int is_bad_cost(double cost) {
    return !(cost >= 0.0 && cost <= 1e300);
}

static cgp_status set_functions(cgp_problem *problem, const cgp_function_set *set) {
    if (set->n_functions < 1 || set->n_functions > CGP_MAX_FUNCTIONS ||
        (set->domain != CGP_INT8 && set->domain != CGP_FLOAT32 && set->domain != CGP_FLOAT64)) {
        return CGP_BAD_FUNCTION;
    }
    problem->domain = set->domain;
    problem->n_functions = (int32_t)set->n_functions;
    for (size_t i = 0; i < set->n_functions; i++) {
        const int32_t id = set->ids[i];
        int32_t reads = cgp_function_arity(set->domain, id);
        if (reads == CGP_ALL_INPUTS && problem->grid.arity >= 2) {
            reads = problem->grid.arity;
        }
        if (reads < 0 || reads > problem->grid.arity) {
            return CGP_BAD_FUNCTION;
        }
        if (is_bad_cost(set->energy_pj[i]) || is_bad_cost(set->area[i]) || is_bad_cost(set->delay[i])) {
            return CGP_BAD_COST;
        }
        problem->ids[i] = id;
        problem->reads[i] = reads;
        problem->is_gate[i] = id != (set->domain == CGP_INT8 ? CGP_INT8_wire : CGP_FLOAT_wire);
        problem->energy_pj[i] = set->energy_pj[i];
        problem->area[i] = set->area[i];
        problem->delay[i] = set->delay[i];
        for (int32_t branch = 0; branch < 2; branch++) {
            problem->forms[branch][i] = int8_form_of(id, branch);
        }
    }
    return CGP_OK;
}

/* (n, n_columns) rows to (n_columns, n_padded) columns of zero-padded values */
static void *columns_of(const void *rows, size_t n, size_t n_columns, size_t n_padded, size_t size) {
    char *columns = calloc(n_columns * n_padded, size);
    if (columns != NULL) {
        const char *from = rows;
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j < n_columns; j++) {
                memcpy(columns + (j * n_padded + i) * size, from + (i * n_columns + j) * size, size);
            }
        }
    }
    return columns;
}

static cgp_status fill_weights(cgp_samples *samples, const cgp_problem *problem, const double *weights) {
    const size_t n_out = (size_t)problem->grid.n_outputs, n = samples->n_samples, n_padded = samples->n_padded;
    const cgp_domain domain = problem->domain;
    samples->weights = calloc(n_out * n_padded, domain == CGP_INT8 ? sizeof(int32_t) : value_size(domain));
    if (samples->weights == NULL) {
        return CGP_NO_MEMORY;
    }
    samples->total_weight = 0.0;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n_out; j++) {
            const double weight = weights[i * n_out + j];
            const size_t at = j * n_padded + i;
            if (is_bad_cost(weight)) {
                return CGP_BAD_DATA;
            }
            if (domain == CGP_INT8) {
                if (weight > 1e9 || floor(weight) < weight) {
                    return CGP_BAD_DATA;
                }
                ((int32_t *)samples->weights)[at] = (int32_t)weight;
            } else if (domain == CGP_FLOAT32) {
                ((float *)samples->weights)[at] = (float)weight;
            } else {
                ((double *)samples->weights)[at] = weight;
            }
            samples->total_weight += weight;
        }
    }
    return CGP_OK;
}

cgp_status samples_fill(cgp_samples *samples, const cgp_problem *problem, const cgp_data *data) {
    memset(samples, 0, sizeof *samples);
    if (data->n_samples < 1 || data->n_sets < 1 || data->inputs == NULL || data->set_start == NULL ||
        data->set_start[0] != 0 || data->set_start[data->n_sets] != data->n_samples) {
        return CGP_BAD_DATA;
    }
    for (size_t set = 0; set < data->n_sets; set++) {
        if (data->set_start[set] > data->set_start[set + 1]) {
            return CGP_BAD_DATA;
        }
    }
    const size_t size = value_size(problem->domain), n = data->n_samples;
    const size_t n_in = (size_t)problem->grid.n_inputs, n_out = (size_t)problem->grid.n_outputs;
    samples->n_samples = n;
    samples->n_sets = data->n_sets;
    samples->n_padded = (n + CGP_BLOCK - 1) / CGP_BLOCK * CGP_BLOCK;
    samples->total_weight = (double)n * (double)n_out;
    samples->set_start = malloc((data->n_sets + 1) * sizeof *samples->set_start);
    samples->branch = calloc(samples->n_padded, 1);
    samples->inputs = columns_of(data->inputs, n, n_in, samples->n_padded, size);
    if (samples->set_start == NULL || samples->branch == NULL || samples->inputs == NULL) {
        return CGP_NO_MEMORY;
    }
    memcpy(samples->set_start, data->set_start, (data->n_sets + 1) * sizeof *samples->set_start);
    for (size_t set = 0; set < data->n_sets; set++) {
        const uint8_t branch = (uint8_t)(set % (size_t)problem->grid.arity);
        memset(samples->branch + data->set_start[set], branch, data->set_start[set + 1] - data->set_start[set]);
    }
    if (data->targets != NULL) {
        samples->targets = columns_of(data->targets, n, n_out, samples->n_padded, size);
        if (samples->targets == NULL) {
            return CGP_NO_MEMORY;
        }
    }
    return data->weights == NULL ? CGP_OK : fill_weights(samples, problem, data->weights);
}

void samples_clear(cgp_samples *samples) {
    free(samples->set_start);
    free(samples->branch);
    free(samples->inputs);
    free(samples->targets);
    free(samples->weights);
    memset(samples, 0, sizeof *samples);
}

cgp_status cgp_problem_new(const cgp_grid *grid, const cgp_function_set *functions, const cgp_data *data,
                           cgp_problem **problem) {
    *problem = NULL;
    cgp_problem *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return CGP_NO_MEMORY;
    }
    cgp_status status = set_grid(made, grid);
    if (status == CGP_OK) {
        status = set_functions(made, functions);
    }
    if (status == CGP_OK) {
        made->kernels = cgp_kernels_for(made->domain);
    }
    if (status == CGP_OK && data != NULL) {
        made->has_data = 1;
        made->error = data->error;
        status = data->targets == NULL || (int)data->error < 0 || (int)data->error > (int)CGP_MAE
                     ? CGP_BAD_DATA
                     : samples_fill(&made->samples, made, data);
    }
    if (status != CGP_OK) {
        cgp_problem_free(made);
        return status;
    }
    *problem = made;
    return CGP_OK;
}

void cgp_problem_free(cgp_problem *problem) {
    if (problem != NULL) {
        free(problem->ranges);
        samples_clear(&problem->samples);
        free(problem);
    }
}

size_t cgp_problem_n_genes(const cgp_problem *problem) {
    return (size_t)problem->n_genes;
}

void cgp_bounds(const cgp_problem *problem, int32_t *lower, int32_t *upper) {
    size_t at = 0;
    for (int32_t gate = 0; gate < problem->n_gates; gate++) {
        const pin_range range = problem->ranges[gate / problem->grid.rows];
        for (int32_t k = 0; k < problem->grid.arity; k++, at++) {
            lower[at] = range.low;
            upper[at] = problem->grid.recurrent > 0.0 ? problem->n_pins - 1 : range.low + range.count - 1;
        }
        lower[at] = 0;
        upper[at++] = problem->n_functions - 1;
    }
    const pin_range range = problem->ranges[problem->grid.cols];
    for (int32_t k = 0; k < problem->grid.n_outputs; k++, at++) {
        lower[at] = range.low;
        upper[at] = range.low + range.count - 1;
    }
}

size_t cgp_first_bad_gene(const cgp_problem *problem, const int32_t *genes) {
    const int32_t arity = problem->grid.arity, rows = problem->grid.rows;
    size_t at = 0;
    for (int32_t column = 0; column < problem->grid.cols; column++) {
        const int32_t low = problem->ranges[column].low;
        const int32_t end = problem->grid.recurrent > 0.0 ? problem->n_pins : low + problem->ranges[column].count;
        for (int32_t row = 0; row < rows; row++) {
            for (int32_t k = 0; k < arity; k++, at++) {
                if (genes[at] < low || genes[at] >= end) {
                    return at;
                }
            }
            if (genes[at] < 0 || genes[at] >= problem->n_functions) {
                return at;
            }
            at++;
        }
    }
    const pin_range range = problem->ranges[problem->grid.cols];
    for (int32_t k = 0; k < problem->grid.n_outputs; k++, at++) {
        if (genes[at] < range.low || genes[at] >= range.low + range.count) {
            return at;
        }
    }
    return (size_t)problem->n_genes;
}

cgp_status check_genomes(const cgp_problem *problem, size_t n, const int32_t *genes) {
    const size_t n_genes = (size_t)problem->n_genes;
    for (size_t i = 0; i < n; i++) {
        if (cgp_first_bad_gene(problem, genes + i * n_genes) != n_genes) {
            return CGP_BAD_GENE;
        }
    }
    return CGP_OK;
}

void cost_of_counts(const cgp_problem *problem, const int32_t *counts, cgp_score *score) {
    double energy_pj = 0.0, area = 0.0;
    int32_t n_gates = 0;
    for (int32_t f = 0; f < problem->n_functions; f++) {
        energy_pj += (double)counts[f] * problem->energy_pj[f];
        area += (double)counts[f] * problem->area[f];
        n_gates += counts[f] * problem->is_gate[f];
    }
    score->energy_pj = energy_pj;
    score->area = area;
    score->n_gates = n_gates;
}

double error_of_sum(const cgp_problem *problem, double sum) {
    if (isnan(sum)) {
        return INFINITY;
    }
    if (problem->error == CGP_SE || problem->error == CGP_AE) {
        return sum;
    }
    return problem->samples.total_weight > 0.0 ? sum / problem->samples.total_weight : 0.0;
}
