/*
 * memory_puppet: makes memory as it is told, one order at a time.
 *
 * An order is a letter, and a number of pages (0 for those that need none). Each is answered with
 * an errno and a number; the first answer, before any order, has our pid.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MOST 100
#define PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)

static struct { char *at; size_t size; } maps[MOST];
static pid_t children[MOST];
static int mapped, born;
static size_t page;
extern char **environ;

static void *
sleeper(void *unused)
{
    (void)unused;
    for (;;)
        pause();
}

static long
keep(void *at, size_t size)
{
    if (at == MAP_FAILED)
        return -1;
    maps[mapped].at = at;
    maps[mapped++].size = size;
    return 0;
}

static long
fill_by_malloc(size_t size)
{
    long got = 0;
    void **last = NULL, **next;

    while ((next = malloc(size))) {
        *next = last;
        last = next;
        got++;
    }
    while (last) {
        next = *last;
        free(last);
        last = next;
    }
    errno = 0;
    return got;
}

/* The break moved by the system call itself: the answer is how far it went, in bytes. */
static long
move_break(long size)
{
    long before = syscall(SYS_brk, 0);

    return syscall(SYS_brk, before + size) - before;
}

static long
make_thread(void)
{
    pthread_t thread;
    pthread_attr_t attributes;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    errno = pthread_create(&thread, &attributes, sleeper, NULL);
    return errno ? -1 : 0;
}

static long
carry_out(char order, size_t size)
{
    int last = mapped - 1;
    void *at;

    switch (order) {
    case 'm':
        return keep(mmap(NULL, size, PROT_READ | PROT_WRITE, PRIVATE, -1, 0), size);
    case 's':
        return keep(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), size);
    case 'n':
        return keep(mmap(NULL, size, PROT_NONE, PRIVATE, -1, 0), size);
    case 'p':
        return mprotect(maps[last].at, size, PROT_READ | PROT_WRITE);
    case 'r':
        if ((at = mremap(maps[last].at, maps[last].size, size, MREMAP_MAYMOVE)) == MAP_FAILED)
            return -1;
        maps[last].at = at;
        maps[last].size = size;
        return 0;
    case 'u':
        mapped--;
        return munmap(maps[last].at, maps[last].size);
    case 't':
        memset(maps[last].at, 1, maps[last].size);
        return 0;
    case 'b':
        return move_break(size);
    case 'S':
        return sbrk(size) == (void *)-1 ? -1 : 0;
    case 'a':
        return fill_by_malloc(size);
    case 'T':
        return make_thread();
    case 'f':
        if ((children[born] = fork()) == 0)
            sleeper(NULL);
        return children[born] < 0 ? -1 : children[born++];
    case 'e':
        kill(children[--born], SIGKILL);
        return waitpid(children[born], NULL, 0);
    case 'v': {
        char *argv[] = { "true", NULL };
        pid_t pid;
        errno = posix_spawnp(&pid, "true", NULL, NULL, argv, environ);
        return errno ? -1 : waitpid(pid, NULL, 0);
    }
    }
    errno = EINVAL;
    return -1;
}

int
main(void)
{
    char order;
    long pages, result;

    page = sysconf(_SC_PAGESIZE);
    setvbuf(stdin, NULL, _IONBF, 0);
    dprintf(1, "0 %d\n", getpid());
    while (scanf(" %c%ld", &order, &pages) == 2) {
        errno = 0;
        result = carry_out(order, pages * page);
        dprintf(1, "%d %ld\n", result == -1 ? errno : 0, result);
    }
    while (born)
        kill(children[--born], SIGKILL);
    return 0;
}
