/*
 * harm_seccomp: a program with a filter of its own, which refuses getppid with EXDEV, and that
 * then asks for a listener. Prints both errors.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sock_filter refuse[] = {
    BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};

static const char *
filter(unsigned flags)
{
    struct sock_fprog program = { 4, refuse };
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);

    return result < 0 ? strerrorname_np(errno) : "0";
}

int
main(void)
{
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    printf("filter %s\n", filter(0));
    printf("getppid %s\n", syscall(SYS_getppid) < 0 ? strerrorname_np(errno) : "0");
    printf("listener %s\n", filter(SECCOMP_FILTER_FLAG_NEW_LISTENER));
    return 0;
}
