/*
 * files_relay RELAYS FILES TRIES: files that change hands while they are counted.
 *
 * Each relay is a process that holds FILES files, forks and ends, for ever: its files live on in
 * its child. Beside them one process opens TRIES times, or more until there were FORKS forks,
 * keeping what it gets and giving all back now and then. Prints the most that all of
 * them held together, the number of EMFILE and of forks.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST 1000
#define FORKS 100

static struct shared {
    atomic_int ready, over, forks;
} *shared;

static void
relay(int files)
{
    while (files-- > 0)
        if (eventfd(0, 0) < 0)
            perror("eventfd");
    atomic_fetch_add(&shared->ready, 1);
    while (!atomic_load(&shared->over)) {
        pid_t child = fork();

        if (child > 0)
            _exit(0);
        if (child == 0)
            atomic_fetch_add(&shared->forks, 1);
    }
    _exit(0);
}

int
main(int count, char **arguments)
{
    int relays = atoi(arguments[1]), files = atoi(arguments[2]), tries = atoi(arguments[3]);
    int fds[MOST], held = 0, highest = 0, refused = 0;

    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    close_range(3, ~0U, 0);
    signal(SIGCHLD, SIG_IGN);
    for (int i = 0; i < relays; i++)
        if (fork() == 0)
            relay(files);
    while (atomic_load(&shared->ready) < relays)
        usleep(100);
    while (tries-- > 0 || atomic_load(&shared->forks) < FORKS) {
        int fd = held < MOST ? eventfd(0, 0) : -1;

        if (fd >= 0)
            fds[held++] = fd;
        else if (refused++ % 10 == 0)
            while (held > 0)
                close(fds[--held]);
        if (held > highest)
            highest = held;
    }
    atomic_store(&shared->over, 1);
    printf("%d %d %d\n", highest + relays * files, refused, shared->forks);
    return 0;
}
