/* The cheapest answerer there can be: the floor under the cost of a trap.
 *
 *     floor FILTER COMMAND [ARGUMENT...]
 *
 * installs FILTER (the bytes of a classic BPF program, in hexadecimal) in COMMAND and answers every trapped
 * call with "continue", looking at nothing. COMMAND's exit status is passed on (128+n for signal n).
 * Three processes: the target, the answerer, and the one that waits for the target and then kills the answerer,
 * for on kernels before 6.11 a waiting SECCOMP_IOCTL_NOTIF_RECV is not woken when the last target is gone.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "filter.h"

/* Newer than the headers of some supported systems: Linux 5.19 and 6.6, include/uapi/linux/seccomp.h. */
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(sizeof(int))];
};

static void send_fd(int socket, int fd)
{
	union control control = {.header = {CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS}};
	struct iovec byte = {"x", 1};
	struct msghdr message = {.msg_iov = &byte, .msg_iovlen = 1,
				 .msg_control = &control, .msg_controllen = sizeof control};

	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	if (sendmsg(socket, &message, 0) != 1)
		die("send the listener");
}

/* The listener, or -1 when the target ended without sending one. */
static int receive_fd(int socket)
{
	union control control;
	char byte;
	struct iovec space = {&byte, 1};
	struct msghdr message = {.msg_iov = &space, .msg_iovlen = 1,
				 .msg_control = &control, .msg_controllen = sizeof control};
	int fd;

	if (recvmsg(socket, &message, MSG_CMSG_CLOEXEC) != 1)
		return -1;
	memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
	return fd;
}

static void target(int socket, struct sock_fprog filter, char **command)
{
	unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	int listener;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
	if (listener < 0)
		die("install the filter");
	send_fd(socket, listener);
	close(listener);
	execvp(command[0], command);
	die(command[0]);
}

static void answer(int listener)
{
	struct seccomp_notif request;
	struct seccomp_notif_resp reply;

	/* Linux 6.6: without it the floor is several times as high, and governor's own agent uses it too. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	for (;;) {
		memset(&request, 0, sizeof request);
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &request) < 0)
			continue;
		memset(&reply, 0, sizeof reply);
		reply.id = request.id;
		reply.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &reply);
	}
}

static pid_t start_target(int pair[2], struct sock_fprog filter, char **command)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(pair[0]);
		target(pair[1], filter, command);
	}
	close(pair[1]);
	return child;
}

static pid_t start_answerer(int socket)
{
	pid_t child = fork();

	if (child < 0)
		die("fork");
	if (child == 0) {
		int listener = receive_fd(socket);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (listener >= 0)
			answer(listener);
		_exit(0);
	}
	return child;
}

int main(int argc, char **argv)
{
	int pair[2], status;
	pid_t runs, answers;

	if (argc < 3) {
		fprintf(stderr, "usage: floor FILTER COMMAND [ARGUMENT...]\n");
		return 2;
	}
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		die("socketpair");
	runs = start_target(pair, parse(argv[1]), argv + 2);
	answers = start_answerer(pair[0]);
	waitpid(runs, &status, 0);
	kill(answers, SIGKILL);
	waitpid(answers, NULL, 0);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
