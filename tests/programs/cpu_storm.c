/*
 * cpu_storm PROCESSES THREADS MEGABYTES: forks PROCESSES children, each of which makes THREADS
 * threads, as fast as it can, without waiting for any. So many MEGABYTES of memory make its forks
 * slow. All stay until standard input ends; "ready" is printed when all are there.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int *there;

static void *
stay(void *nothing)
{
    atomic_fetch_add(there, 1);
    pause();
    return NULL;
}

static void
child(int threads)
{
    pthread_t id;
    pthread_attr_t small;

    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 65536);
    while (threads-- > 0)
        if (pthread_create(&id, &small, stay, NULL) != 0)
            _exit(1);
    stay(NULL);
}

int
main(int count, char **arguments)
{
    int processes = atoi(arguments[1]), threads = atoi(arguments[2]);
    char byte;
    size_t size = (size_t)atoi(arguments[3]) << 20;
    char *memory = mmap(NULL, size + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    madvise(memory, size, MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += 4096)
        memory[i] = 1;
    there = mmap(NULL, sizeof *there, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < processes; i++)
        if (fork() == 0)
            child(threads);
    while (atomic_load(there) < processes * (threads + 1))
        usleep(1000);
    puts("ready");
    fflush(stdout);
    read(0, &byte, 1);
    kill(0, 9);
    return 0;
}
