/*
 * files_hog PROCESSES THREADS ROUNDS [meet]: many tasks open and close files as fast as they can.
 *
 * Whoever is to meet a limit goes on until one of them has.
 *
 * They keep count in shared memory, up after an open and down before a close, so that the count
 * never exceeds what is really open. Prints the highest count and the number of EMFILE.
 * Threads with an odd number have a table of descriptors of their own.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 40

static struct shared {
    atomic_int open, highest, refused, other, started;
} *shared;
static int rounds, tasks, meet;

static void
opened(int number)
{
    int now = atomic_fetch_add(&shared->open, number) + number;
    int highest = atomic_load(&shared->highest);

    while (now > highest && !atomic_compare_exchange_weak(&shared->highest, &highest, now))
        ;
}

static int
make(unsigned *random, int fds[2])
{
    int result;

    switch (rand_r(random) % 4) {
    case 0:
        result = fds[0] = open("/dev/null", O_RDONLY);
        break;
    case 1:
        result = fds[0] = eventfd(0, 0);
        break;
    case 2:
        result = fds[0] = socket(AF_UNIX, SOCK_DGRAM, 0);
        break;
    default:
        result = pipe(fds);
        if (result == 0)
            return 2;
    }
    if (result >= 0)
        return 1;
    atomic_fetch_add(errno == EMFILE ? &shared->refused : &shared->other, 1);
    return 0;
}

static void *
hog(void *number)
{
    unsigned random = getpid() * 100 + (uintptr_t)number;
    int fds[MOST + 2], held = 0;

    if ((uintptr_t)number % 2 == 1)
        unshare(CLONE_FILES);
    /* All at once, so that they meet at the limit. */
    atomic_fetch_add(&shared->started, 1);
    while (atomic_load(&shared->started) < tasks)
        sched_yield();
    for (int i = 0; i < rounds || (meet && !atomic_load(&shared->refused)); i++) {
        int made = held < MOST ? make(&random, fds + held) : 0;

        held += made;
        opened(made);
        if (made == 0 || rand_r(&random) % 4 == 0)
            for (int give = rand_r(&random) % (held + 1); give > 0; give--) {
                atomic_fetch_sub(&shared->open, 1);
                close(fds[--held]);
            }
    }
    atomic_fetch_sub(&shared->open, held);
    while (held > 0)
        close(fds[--held]);
    return NULL;
}

static void
process(int threads)
{
    pthread_t ids[threads];

    for (int i = 1; i < threads; i++)
        pthread_create(&ids[i], NULL, hog, (void *)(uintptr_t)i);
    hog((void *)0);
    for (int i = 1; i < threads; i++)
        pthread_join(ids[i], NULL);
    exit(0);
}

int
main(int count, char **arguments)
{
    int processes = atoi(arguments[1]), threads = atoi(arguments[2]);

    rounds = atoi(arguments[3]);
    meet = count > 4;
    tasks = processes * threads;
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    close_range(3, ~0U, 0);
    for (int i = 0; i < processes; i++)
        if (fork() == 0)
            process(threads);
    while (wait(NULL) > 0)
        ;
    printf("%d %d %d\n", shared->highest, shared->refused, shared->other);
    return 0;
}
