/* The active gates as a straight-line program, run block by block so that its columns stay in the first-level cache;
 * and sample by sample, for a handful of samples and for recurrent connections. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "evaluation/workspace.h"

enum { FEW_SAMPLES = 8 }; /* int8: below this a column of CGP_BLOCK is wasted */

static int is_one_by_one(const cgp_problem *problem, const cgp_samples *samples) {
    return problem->grid.recurrent > 0.0 || (problem->domain == CGP_INT8 && samples->n_samples <= FEW_SAMPLES);
}

/* Gives every active gate an intermediate column; one whose last reader has run is used again. */
static size_t assign_columns(workspace *work, const int32_t *genes) {
    const cgp_problem *problem = work->problem;
    const int32_t n_in = problem->grid.n_inputs, arity = problem->grid.arity;
    const int32_t *outputs = genes + (size_t)problem->n_gates * work->stride;
    for (int32_t i = 0; i < work->n_active; i++) {
        work->uses[n_in + work->order[i]] = 0;
    }
    for (int32_t i = 0; i < work->n_active; i++) {
        const int32_t *gene = genes + (size_t)work->order[i] * work->stride;
        for (int32_t k = 0; k < problem->reads[gene[arity]]; k++) {
            if (gene[k] >= n_in) {
                work->uses[gene[k]]++;
            }
        }
    }
    for (int32_t o = 0; o < problem->grid.n_outputs; o++) {
        if (outputs[o] >= n_in) {
            work->uses[outputs[o]]++; /* never let go */
        }
    }
    int32_t n_columns = 0, n_free = 0;
    for (int32_t i = 0; i < work->n_active; i++) {
        const int32_t gate = work->order[i];
        const int32_t *gene = genes + (size_t)gate * work->stride;
        /* taken before the operands' columns are let go: a kernel's result overlaps no operand */
        work->column[n_in + gate] = n_free > 0 ? work->free_column[--n_free] : n_columns++;
        for (int32_t k = 0; k < problem->reads[gene[arity]]; k++) {
            if (gene[k] >= n_in && --work->uses[gene[k]] == 0) {
                work->free_column[n_free++] = work->column[gene[k]];
            }
        }
    }
    return (size_t)n_columns;
}

static column_address address_of(const workspace *work, const cgp_samples *samples, int32_t pin) {
    const size_t block = CGP_BLOCK * value_size(work->problem->domain);
    if (pin < work->problem->grid.n_inputs) {
        const char *inputs = samples->inputs;
        return (column_address){inputs + (size_t)pin * samples->n_padded * value_size(work->problem->domain), block};
    }
    return (column_address){work->columns + (size_t)work->column[pin] * block, 0};
}

static cgp_status compile(workspace *work, const int32_t *genes, const cgp_samples *samples) {
    const cgp_problem *problem = work->problem;
    const int32_t arity = problem->grid.arity;
    const size_t block = CGP_BLOCK * value_size(problem->domain);
    const size_t n_columns = assign_columns(work, genes);
    if (n_columns > work->n_columns) {
        free(work->columns);
        work->n_columns = 0;
        work->columns = aligned_alloc(64, n_columns * block);
        if (work->columns == NULL) {
            return CGP_NO_MEMORY;
        }
        work->n_columns = n_columns;
        memset(work->columns, 0, n_columns * block);
    }
    for (int32_t i = 0; i < work->n_active; i++) {
        const int32_t gate = work->order[i];
        const int32_t *gene = genes + (size_t)gate * work->stride;
        const int32_t function = gene[arity], reads = problem->reads[function];
        const int32_t first = reads > 0 ? gene[0] : 0, second = reads > 1 ? gene[1] : first;
        const column_address a = address_of(work, samples, first), b = address_of(work, samples, second);
        instruction *made = &work->program[i];
        made->kernel = problem->kernels.functions[problem->ids[function]];
        made->result = work->columns + (size_t)work->column[problem->grid.n_inputs + gate] * block;
        made->a = a.address, made->a_step = a.step;
        made->b = b.address, made->b_step = b.step;
        made->gate = reads > 2 ? gate : -1;
    }
    const int32_t *outputs = genes + (size_t)problem->n_gates * work->stride;
    for (int32_t o = 0; o < problem->grid.n_outputs; o++) {
        work->outputs[o] = address_of(work, samples, outputs[o]);
    }
    return CGP_OK;
}

/* A multiplexer (int8) with more than two inputs. */
static void run_multiplexer(const workspace *work, const int32_t *genes, const cgp_samples *samples, size_t block,
                            const instruction *made) {
    const int32_t *gene = genes + (size_t)made->gate * work->stride;
    const uint8_t *branch = samples->branch + block * CGP_BLOCK;
    for (size_t i = 0; i < CGP_BLOCK; i++) {
        const column_address from = address_of(work, samples, gene[branch[i]]);
        made->result[i] = from.address[block * from.step + i];
    }
}

static void run_block(workspace *work, const int32_t *genes, const cgp_samples *samples, size_t block) {
    const uint8_t *branch = samples->branch + block * CGP_BLOCK;
    for (int32_t i = 0; i < work->n_active; i++) {
        const instruction *made = &work->program[i];
        if (made->gate >= 0) {
            run_multiplexer(work, genes, samples, block, made);
        } else {
            made->kernel(made->result, made->a + block * made->a_step, made->b + block * made->b_step, branch);
        }
    }
}

/* One sample: values of all active gates, in order; what is read ahead is the value of the sample before. */
static void run_sample(workspace *work, const int32_t *genes, const cgp_samples *samples, size_t sample) {
    const cgp_problem *problem = work->problem;
    const int32_t n_in = problem->grid.n_inputs, arity = problem->grid.arity;
    const int32_t branch = samples->branch[sample], side = branch != 0;
    for (int32_t i = 0; i < n_in; i++) {
        const size_t at = (size_t)i * samples->n_padded + sample;
        switch (problem->domain) {
            case CGP_INT8: ((int8_t *)work->values)[i] = ((const int8_t *)samples->inputs)[at]; break;
            case CGP_FLOAT32: ((float *)work->values)[i] = ((const float *)samples->inputs)[at]; break;
            default: ((double *)work->values)[i] = ((const double *)samples->inputs)[at]; break;
        }
    }
    for (int32_t i = 0; i < work->n_active; i++) {
        const int32_t pin = n_in + work->order[i];
        const int32_t *gene = genes + (size_t)work->order[i] * work->stride;
        const int32_t function = gene[arity], reads = problem->reads[function];
        const int32_t first = reads > 2 ? gene[branch] : gene[0], second = reads > 2 ? first : gene[reads > 1];
        if (problem->domain == CGP_INT8) {
            int8_t *value = work->values;
            value[pin] = int8_apply(&problem->forms[side][function], value[first], value[second]);
        } else if (problem->domain == CGP_FLOAT32) {
            float *value = work->values;
            value[pin] = (float)cgp_function_value(CGP_FLOAT32, problem->ids[function], (double)value[first],
                                                   (double)value[second], 0);
        } else {
            double *value = work->values;
            value[pin] = cgp_function_value(CGP_FLOAT64, problem->ids[function], value[first], value[second], 0);
        }
    }
    work->n_node_evals += work->n_active;
}

static int starts_set(const cgp_samples *samples, size_t sample) {
    for (size_t set = 0; set < samples->n_sets; set++) {
        if (samples->set_start[set] == sample) {
            return 1;
        }
    }
    return 0;
}

/* Before a set's first sample every value that is read ahead is 0. */
static void begin_sample(workspace *work, const cgp_samples *samples, size_t sample) {
    if (work->problem->grid.recurrent > 0.0 && starts_set(samples, sample)) {
        memset(work->values, 0, (size_t)work->problem->n_pins * value_size(work->problem->domain));
    }
}

/* Error of n values of one output, samples `start` and on. */
static double error_of_output(const cgp_problem *problem, const cgp_samples *samples, int32_t output, size_t start,
                              const char *values, size_t n) {
    const cgp_error_kernel kernel = is_squared(problem) ? problem->kernels.squared : problem->kernels.absolute;
    const size_t size = value_size(problem->domain);
    const size_t weight_size = problem->domain == CGP_INT8 ? sizeof(int32_t) : size;
    const size_t at = (size_t)output * samples->n_padded + start;
    const char *targets = samples->targets, *weights = samples->weights;
    return kernel(values, targets + at * size, weights == NULL ? NULL : weights + at * weight_size, n);
}

static double error_of_sample(const workspace *work, const int32_t *outputs, const cgp_samples *samples, size_t sample) {
    const cgp_problem *problem = work->problem;
    const size_t size = value_size(problem->domain);
    const char *values = work->values;
    double sum = 0.0;
    for (int32_t o = 0; o < problem->grid.n_outputs; o++) {
        sum += error_of_output(problem, samples, o, sample, values + (size_t)outputs[o] * size, 1);
    }
    return sum;
}

static double error_of_block(const workspace *work, const cgp_samples *samples, size_t block) {
    const size_t start = block * CGP_BLOCK;
    const size_t n = samples->n_samples - start < CGP_BLOCK ? samples->n_samples - start : CGP_BLOCK;
    double sum = 0.0;
    for (int32_t o = 0; o < work->problem->grid.n_outputs; o++) {
        const char *values = work->outputs[o].address + block * work->outputs[o].step;
        sum += error_of_output(work->problem, samples, o, start, values, n);
    }
    return sum;
}

cgp_status sum_of_errors(workspace *work, const int32_t *genes, double bound, double *sum) {
    const cgp_problem *problem = work->problem;
    const cgp_samples *samples = &problem->samples;
    *sum = 0.0;
    if (is_one_by_one(problem, samples)) {
        const int32_t *outputs = genes + (size_t)problem->n_gates * work->stride;
        for (size_t sample = 0; sample < samples->n_samples && !(*sum > bound); sample++) {
            begin_sample(work, samples, sample);
            run_sample(work, genes, samples, sample);
            *sum += error_of_sample(work, outputs, samples, sample);
        }
        return CGP_OK;
    }
    const cgp_status status = compile(work, genes, samples);
    if (status != CGP_OK) {
        return status;
    }
    for (size_t block = 0; block * CGP_BLOCK < samples->n_samples && !(*sum > bound); block++) {
        const size_t left = samples->n_samples - block * CGP_BLOCK;
        run_block(work, genes, samples, block);
        *sum += error_of_block(work, samples, block);
        work->n_node_evals += (int64_t)work->n_active * (int64_t)(left < CGP_BLOCK ? left : CGP_BLOCK);
        if (isnan(*sum)) {
            break;
        }
    }
    return CGP_OK;
}

cgp_status fill_outputs(workspace *work, const int32_t *genes, const cgp_samples *samples, void *outputs) {
    const cgp_problem *problem = work->problem;
    const size_t size = value_size(problem->domain), n_out = (size_t)problem->grid.n_outputs;
    const int32_t *sources = genes + (size_t)problem->n_gates * work->stride;
    char *to = outputs;
    if (is_one_by_one(problem, samples)) {
        const char *values = work->values;
        for (size_t sample = 0; sample < samples->n_samples; sample++) {
            begin_sample(work, samples, sample);
            run_sample(work, genes, samples, sample);
            for (size_t o = 0; o < n_out; o++, to += size) {
                memcpy(to, values + (size_t)sources[o] * size, size);
            }
        }
        return CGP_OK;
    }
    const cgp_status status = compile(work, genes, samples);
    for (size_t block = 0; status == CGP_OK && block * CGP_BLOCK < samples->n_samples; block++) {
        run_block(work, genes, samples, block);
        for (size_t i = 0; i < CGP_BLOCK && block * CGP_BLOCK + i < samples->n_samples; i++) {
            for (size_t o = 0; o < n_out; o++, to += size) {
                memcpy(to, work->outputs[o].address + block * work->outputs[o].step + i * size, size);
            }
        }
    }
    return status;
}
