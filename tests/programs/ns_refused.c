/* ns_refused THREADS ROUNDS: each thread tries in vain to enter a user namespace, which a process
   with threads cannot (EINVAL), and opens a file and forks in between. Prints what went wrong and
   its pid, then waits for the end of stdin. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int rounds;
static int failures;

static void expect(int holds)
{
    if (!holds)
        __sync_fetch_and_add(&failures, 1);
}

static void *work(void *unused)
{
    for (int round = 0; round < rounds; round++) {
        errno = 0;
        expect(unshare(CLONE_NEWUSER) == -1 && errno == EINVAL);
        int file = open("/dev/null", O_RDONLY);
        expect(file >= 0 && close(file) == 0);
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        expect(child > 0 && waitpid(child, NULL, 0) == child);
    }
    return unused;
}

int main(int argc, char **argv)
{
    int count = argc > 2 ? atoi(argv[1]) : 1;
    pthread_t threads[64];

    rounds = argc > 2 ? atoi(argv[2]) : 1;
    for (int i = 0; i < count; i++)
        expect(pthread_create(&threads[i], NULL, work, NULL) == 0);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    printf("%d %d\n", failures, getpid());
    fflush(stdout);
    return getchar() != EOF || failures;
}
