/*
 * vfork_cost MB: with so much memory resident, the time of a vfork in percent
 * of that of a fork, best of 20 each, and whether each gave a child. Prints the number.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double
now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

#define BEST(call) \
    ({ \
        double best = 1e9; \
        for (int i = 0; i < 20; i++) { \
            double start = now(), took; \
            pid_t child = call; \
            if (child == 0) \
                _exit(0); \
            if (child < 0 || waitpid(child, NULL, 0) != child) \
                return 1; \
            took = now() - start; \
            if (took < best) \
                best = took; \
        } \
        best; \
    })

int
main(int count, char **arguments)
{
    size_t size = (size_t)atoi(arguments[1]) << 20;
    char *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (memory == MAP_FAILED)
        return 1;
    madvise(memory, size, MADV_NOHUGEPAGE);
    memset(memory, 1, size);
    double copied = BEST(fork());
    double shared = BEST(vfork());
    printf("%.0f\n", shared / copied * 100);
    return 0;
}
