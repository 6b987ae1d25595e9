/* Forks and waits N times in each of T threads (the first of them is main). Usage: tasks_forkwait N T

   Prints how many forks failed, and with which errno last. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static atomic_int failed, error;
static int times;

static void *run(void *unused) {
    for (int i = 0; i < times; i++) {
        pid_t pid = fork();
        if (pid == 0) _exit(0);
        if (pid < 0) {
            error = errno;
            failed++;
        } else {
            waitpid(pid, NULL, 0);
        }
    }
    return unused;
}

int main(int argc, char **argv) {
    pthread_t threads[16];
    int wanted = argc > 2 ? atoi(argv[2]) : 1;
    times = argc > 1 ? atoi(argv[1]) : 1;
    for (int i = 1; i < wanted; i++)
        if ((error = pthread_create(&threads[i], NULL, run, NULL))) failed++;
    run(NULL);
    for (int i = 1; i < wanted && !error; i++) pthread_join(threads[i], NULL);
    printf("%d %d\n", failed, error);
    return 0;
}
