/*
 * cpu_tree SHAPE NUMBER MICROSECONDS: uses CPU time in processes of a shape.
 *
 * flat: NUMBER children one after the other. deep: a chain, each the child of the one before.
 * threads: NUMBER threads at once. orphans: NUMBER grandchildren whose parents have ended.
 * Each uses MICROSECONDS. Prints the CPU time in ns of itself and everything below it: as
 * the kernel gives it to the one who waits, or for orphans as they themselves have measured it.
 */
#define _GNU_SOURCE
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long microseconds;
static _Atomic int64_t *orphaned;

static int64_t
clock_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void *
burn(void *nothing)
{
    int64_t end = clock_ns(CLOCK_THREAD_CPUTIME_ID) + microseconds * 1000;

    while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < end)
        ;
    return NULL;
}

static void
flat(int number)
{
    while (number-- > 0) {
        if (fork() == 0) {
            burn(NULL);
            _exit(0);
        }
        wait(NULL);
    }
}

static void
deep(int number)
{
    burn(NULL);
    if (number > 1) {
        if (fork() == 0) {
            deep(number - 1);
            _exit(0);
        }
        wait(NULL);
    }
}

static void
threads(int number)
{
    pthread_t ids[number];

    for (int i = 0; i < number; i++)
        pthread_create(&ids[i], NULL, burn, NULL);
    for (int i = 0; i < number; i++)
        pthread_join(ids[i], NULL);
}

static void
orphans(int number)
{
    int ends[2];
    char byte;

    pipe(ends);
    while (number-- > 0) {
        if (fork() == 0) {
            if (fork() == 0) {
                burn(NULL);
                *orphaned += clock_ns(CLOCK_PROCESS_CPUTIME_ID);
            }
            _exit(0);
        }
        wait(NULL);
    }
    close(ends[1]);
    read(ends[0], &byte, 1); /* until the last of them has ended */
}

static int64_t
of(int who)
{
    struct rusage usage;

    getrusage(who, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000LL
        + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000LL;
}

int
main(int count, char **arguments)
{
    const char *shape = arguments[1];
    int number = atoi(arguments[2]);

    microseconds = atol(arguments[3]);
    orphaned = mmap(NULL, sizeof *orphaned, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                    0);
    if (strcmp(shape, "flat") == 0)
        flat(number);
    else if (strcmp(shape, "deep") == 0)
        deep(number);
    else if (strcmp(shape, "threads") == 0)
        threads(number);
    else
        orphans(number);
    printf("%lld\n", (long long)(of(RUSAGE_SELF) + of(RUSAGE_CHILDREN) + *orphaned));
    return 0;
}
