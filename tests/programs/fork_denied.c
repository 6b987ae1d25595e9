/*
 * fork_denied: under a filter that refuses forks with EAGAIN, fork, _Fork and
 * vfork say so and leave the signal mask alone. Prints what differs, and "done".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_vfork /* aarch64: it is a clone */
#define SYS_vfork SYS_clone
#endif

static void
check(const char *name, pid_t child, int error)
{
    sigset_t now;

    if (child == 0)
        _exit(1);
    if (child != -1 || error != EAGAIN)
        printf("%s: returned %d, errno is %s\n", name, child, strerror(error));
    sigprocmask(SIG_SETMASK, NULL, &now);
    for (int signal = 1; signal < 65; signal++)
        if (sigismember(&now, signal) != (signal == SIGUSR1))
            printf("%s: signal %d is not as it was\n", name, signal);
}

int
main(void)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 2, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_vfork, 1, 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAGAIN),
    };
    struct sock_fprog program = { sizeof code / sizeof *code, code };
    sigset_t mask;
    pid_t child;

    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
        || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0)
        return 1;
    child = fork();
    check("fork", child, errno);
    child = _Fork();
    check("_Fork", child, errno);
    child = vfork();
    check("vfork", child, errno);
    printf("done\n");
    return 0;
}
