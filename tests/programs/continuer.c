/*
 * continuer FD DELAY_US NR[,NR...] COMMAND [ARG...]
 *
 * Runs the command under a filter that traps these system calls, and lets each
 * of them continue, DELAY_US after it was trapped: the time in which a signal
 * can still interrupt it. Independent of governor. x86_64, one ABI.
 * Ends as the command does and writes the number of notifications to FD, which
 * the command does not get.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

enum { MOST_CALLS = 100 };

union fd_message {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
};

static void
die(const char *what)
{
    perror(what);
    exit(125);
}

static int
listen_to(char *calls)
{
    struct sock_filter code[2 * MOST_CALLS + 2];
    struct sock_fprog program = { 0, code };
    struct sock_filter load
        = BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    struct sock_filter notify = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

    code[program.len++] = load;
    for (char *nr = strtok(calls, ","); nr != NULL; nr = strtok(NULL, ",")) {
        struct sock_filter test = BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, atoi(nr), 0, 1);

        if (program.len > 2 * MOST_CALLS - 2)
            die("too many calls");
        code[program.len++] = test;
        code[program.len++] = notify;
    }
    code[program.len++] = allow;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        die("no_new_privs");
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                   SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
                   &program);
}

static void
run(int channel, char *calls, char **command)
{
    union fd_message control;
    char byte = 'x';
    struct iovec data = { &byte, 1 };
    struct msghdr message
        = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
            .msg_controllen = sizeof control };
    int listener = listen_to(calls);

    if (listener < 0)
        die("seccomp");
    control.header = (struct cmsghdr) { CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
    memcpy(CMSG_DATA(&control.header), &listener, sizeof(int));
    if (sendmsg(channel, &message, 0) != 1)
        die("sendmsg");
    close(listener);
    close(channel);
    execvp(command[0], command);
    die(command[0]);
}

static int
receive(int channel)
{
    union fd_message control;
    char byte;
    struct iovec data = { &byte, 1 };
    struct msghdr message
        = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = &control,
            .msg_controllen = sizeof control };
    int listener;

    if (recvmsg(channel, &message, 0) != 1)
        exit(125);
    memcpy(&listener, CMSG_DATA(&control.header), sizeof(int));
    return listener;
}

static long
answer_all(int listener, useconds_t delay)
{
    struct pollfd ready = { listener, POLLIN, 0 };
    long answered = 0;

    while (poll(&ready, 1, -1) >= 0 && !(ready.revents & POLLHUP)) {
        struct seccomp_notif request = { 0 };
        struct seccomp_notif_resp response = { .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE };

        if (delay > 0)
            usleep(delay);
        if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
            continue;
        response.id = request.id;
        ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
        answered++;
    }
    return answered;
}

int
main(int count, char **arguments)
{
    int channel[2], status;
    long answered;
    pid_t child;
    int report;

    if (count < 5)
        return 125;
    report = atoi(arguments[1]);
    if (fcntl(report, F_SETFD, FD_CLOEXEC) < 0)
        die("the file descriptor");
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, channel) < 0)
        die("socketpair");
    child = fork();
    if (child == 0)
        run(channel[1], arguments[3], arguments + 4);
    close(channel[1]);
    answered = answer_all(receive(channel[0]), atoi(arguments[2]));
    waitpid(child, &status, 0);
    dprintf(report, "%ld\n", answered);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
