/*
 * memory_storm PROCESSES THREADS ROUNDS: many tasks map and unmap memory as fast as they can, at
 * least until one of them was refused some.
 *
 * They keep count in shared memory, up after a map and down before an unmap, so that the count
 * never exceeds what there really is. Prints the highest count, what all processes had besides
 * when they began, both in pages, and the numbers of ENOMEM and of other errors.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 16
#define LARGEST 200

static struct shared {
    atomic_int pages, highest, before, refused, other, started, ended;
} *shared;
static int rounds, tasks;
static long page;

static int
data_pages(void)
{
    int data = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (!file || fscanf(file, "%*d %*d %*d %*d %*d %d", &data) != 1)
        abort();
    fclose(file);
    return data;
}

static void *
storm(void *seed)
{
    unsigned random = (unsigned)(long)seed;
    void *at[MOST];
    int size[MOST], held = 0, i, now, highest;

    atomic_fetch_add(&shared->started, 1);
    while (atomic_load(&shared->started) < tasks)
        sched_yield();
    for (i = 0; i < rounds || !atomic_load(&shared->refused); i++) {
        if (held < MOST && rand_r(&random) % 5 < 3) {
            size[held] = 1 + rand_r(&random) % LARGEST;
            at[held] = mmap(NULL, size[held] * page, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (at[held] == MAP_FAILED) {
                atomic_fetch_add(errno == ENOMEM ? &shared->refused : &shared->other, 1);
                continue;
            }
            now = atomic_fetch_add(&shared->pages, size[held]) + size[held];
            highest = atomic_load(&shared->highest);
            while (now > highest && !atomic_compare_exchange_weak(&shared->highest, &highest, now))
                ;
            held++;
        } else if (held) {
            held--;
            atomic_fetch_sub(&shared->pages, size[held]);
            munmap(at[held], size[held] * page);
        }
    }
    while (held--) {
        atomic_fetch_sub(&shared->pages, size[held]);
        munmap(at[held], size[held] * page);
    }
    /* Nobody takes away what he had when he began, before all are done. */
    atomic_fetch_add(&shared->ended, 1);
    while (atomic_load(&shared->ended) < tasks)
        sched_yield();
    return NULL;
}

static void
run(int process, int threads)
{
    pthread_t thread[threads];
    pthread_attr_t small;
    int i;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 64 * 1024);
    for (i = 1; i < threads; i++)
        if (pthread_create(&thread[i], &small, storm, (void *)(long)(process * threads + i)))
            abort();
    atomic_fetch_add(&shared->before, data_pages());
    storm((void *)(long)(process * threads));
    for (i = 1; i < threads; i++)
        pthread_join(thread[i], NULL);
}

int
main(int argc, char **argv)
{
    int processes = atoi(argv[1]), threads = atoi(argv[2]), i;

    rounds = atoi(argv[3]);
    tasks = processes * threads;
    page = sysconf(_SC_PAGESIZE);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (i = 1; i < processes; i++)
        if (fork() == 0) {
            run(i, threads);
            _exit(0);
        }
    run(0, threads);
    while (wait(NULL) > 0)
        ;
    printf("%d %d %d %d\n", shared->highest, shared->before, shared->refused, shared->other);
    return argc != 4;
}
