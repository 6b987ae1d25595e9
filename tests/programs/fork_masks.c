/*
 * fork_masks: fork, _Fork and vfork leave the signal mask, errno and the fork
 * handlers' view of the mask as they were, in parent and child. Prints what differs, and "done".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static sigset_t expected;

static int
same_mask(void)
{
    sigset_t now;

    sigemptyset(&now);
    sigprocmask(SIG_SETMASK, NULL, &now);
    for (int signal = 1; signal < 65; signal++)
        if (sigismember(&now, signal) != sigismember(&expected, signal))
            return 0;
    return 1;
}

static void
check(const char *where)
{
    if (!same_mask())
        printf("%s: another mask\n", where);
    if (errno != ERANGE)
        printf("%s: errno is %s\n", where, strerror(errno));
    errno = ERANGE;
}

static void before(void) { check("before"); }
static void in_parent(void) { check("handler in the parent"); }
static void in_child(void) { check("handler in the child"); }

static void
end(const char *name, pid_t child)
{
    int status;

    check(name);
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        printf("%s: the child is not right\n", name);
}

int
main(void)
{
    pid_t child;
    volatile int shared = 0;

    setvbuf(stdout, NULL, _IONBF, 0);
    sigemptyset(&expected);
    sigaddset(&expected, SIGUSR1);
    sigaddset(&expected, SIGRTMIN + 3);
    sigprocmask(SIG_SETMASK, &expected, NULL);
    pthread_atfork(before, in_parent, in_child);
    errno = ERANGE;
    if ((child = fork()) == 0) {
        check("fork, child");
        _exit(0);
    }
    end("fork", child);
    if ((child = _Fork()) == 0)
        _exit(!same_mask());
    end("_Fork", child);
    if ((child = vfork()) == 0) {
        shared = 1;
        _exit(!same_mask());
    }
    end("vfork", child);
    if (!shared)
        printf("vfork: a copy, not a share\n");
    printf("done\n");
    return 0;
}
