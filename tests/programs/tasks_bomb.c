/* A bounded fork bomb that hides its children from simple counting. Usage: tasks_bomb ROUNDS KILL

   Prints how many tasks it made, how often it was refused with EAGAIN, and how often with anything else.
   First it makes tasks that stay until it is refused, so it certainly meets its limit; then it makes
   ROUNDS times 40 short-lived ones: with threads, in other sessions, forked twice, dying by signal,
   and reaped by nobody. With KILL other than 0 processes die with threads of theirs still forking. */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct tally {
    atomic_int made, refused, other;
};

static struct tally *tally;
static int cruel;

static void note(int error) {
    atomic_fetch_add(!error ? &tally->made : error == EAGAIN ? &tally->refused : &tally->other, 1);
}

static pid_t make(int how) {
    struct clone_args args = {.exit_signal = SIGCHLD};
    pid_t pid = how % 3 == 0   ? fork()
                : how % 3 == 1 ? (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)
                               : (pid_t)syscall(SYS_clone3, &args, sizeof args);
    if (pid) note(pid < 0 ? errno : 0);
    return pid;
}

static void linger(void) { usleep(2000); }

static void *thread(void *forks) {
    if (forks && make(0) == 0) {
        linger();
        _exit(0);
    }
    linger();
    return NULL;
}

static void make_threads(int wanted, int forking) {
    pthread_t threads[8];
    int started = 0;
    for (int i = 0; i < wanted; i++) {
        int error = pthread_create(&threads[started], NULL, thread, forking ? tally : NULL);
        note(error);
        started += !error;
    }
    if (forking && cruel) kill(getpid(), SIGKILL);
    while (started) pthread_join(threads[--started], NULL);
}

static void child(int i) {
    if (i % 4 == 0) make_threads(5, i % 8 == 0);
    if (i % 4 == 1) setsid();
    if (i % 4 == 2 && make(i) == 0) {
        linger();
        _exit(0);
    }
    if (i % 5 == 3) kill(getpid(), SIGKILL);
    linger();
    _exit(0);
}

/* Make tasks that stay until there is no room for any more; they end when the pipe is closed. */
static void fill(void) {
    int held[2];
    char byte;
    if (pipe(held) != 0) exit(1);
    for (int i = 0; tally->refused + tally->other == 0; i++) {
        if (make(i) == 0) {
            close(held[1]);
            _exit(read(held[0], &byte, 1) != 0);
        }
    }
    close(held[0]);
    close(held[1]);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 1;
    cruel = argc > 2 && atoi(argv[2]);
    tally = mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (tally == MAP_FAILED) return 1;
    signal(SIGCHLD, SIG_IGN);
    int here[2];
    char byte;
    if (pipe(here) != 0) return 1;
    fill();
    while (rounds--) {
        for (int i = 0; i < 40; i++)
            if (make(i) == 0) child(i);
        usleep(5000);
    }
    /* Everything below us holds the writing end: its end is theirs. */
    close(here[1]);
    while (read(here[0], &byte, 1) > 0) {
    }
    printf("%d %d %d\n", tally->made, tally->refused, tally->other);
    return 0;
}
