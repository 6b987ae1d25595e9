/*
 * files_hidden: fills its limit from a thread with a table of descriptors of its own, and again
 * from a thread that outlives the first one. Prints the error and the number of files each time.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void
fill(const char *what)
{
    int files = 0;

    while (eventfd(0, 0) >= 0)
        files++;
    printf("%s %s %d\n", what, strerrorname_np(errno), files);
    fflush(stdout);
}

static void *
with_own_table(void *nothing)
{
    unshare(CLONE_FILES);
    fill("own table");
    return NULL;
}

static void *
after_leader(void *leader)
{
    pthread_join(*(pthread_t *)leader, NULL);
    fill("leader gone");
    _exit(0);
}

static pthread_t leader;

/* A joined thread has its files for a moment yet. */
static void
await_end(void)
{
    struct stat tasks;

    while (stat("/proc/self/task", &tasks) == 0 && tasks.st_nlink > 3)
        sched_yield();
}

int
main(void)
{
    pthread_t thread;

    close_range(3, ~0U, 0);
    pthread_create(&thread, NULL, with_own_table, NULL);
    pthread_join(thread, NULL);
    await_end();
    if (fork() == 0) {
        leader = pthread_self();
        pthread_create(&thread, NULL, after_leader, &leader);
        pthread_exit(NULL);
    }
    wait(NULL);
    return 0;
}
