/* Tests that count: a failed check is printed with its place, and the program ends with status 1. */
#ifndef CGP_TESTS_CHECK_H
#define CGP_TESTS_CHECK_H

#include <stdio.h>

static int n_checks = 0, n_failed = 0;

#define CHECK(condition)                                                            \
    do {                                                                            \
        n_checks++;                                                                 \
        if (!(condition)) {                                                         \
            n_failed++;                                                             \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
        }                                                                           \
    } while (0)

static inline int report(const char *name) {
    printf("%s: %d checks, %d failed\n", name, n_checks, n_failed);
    return n_failed != 0;
}

#endif
