/* The same calls, watched by ptrace instead: as `strace -f --seccomp-bpf` does, and every older sandbox.
 *
 *     tracer FILTER COMMAND [ARGUMENT...]
 *
 * installs FILTER (the bytes of a classic BPF program, in hexadecimal) in COMMAND, with "stop for the tracer" in
 * place of "notify the listener", follows every fork and thread, and lets each stopped call go on without a look
 * at it. So nothing that traces can be cheaper. COMMAND's exit status is passed on (128+n for signal n).
 */
#define _GNU_SOURCE
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "filter.h"

enum {
	OPTIONS = PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
		  PTRACE_O_TRACECLONE,
};

static void stop_instead_of_notify(struct sock_fprog filter)
{
	for (int i = 0; i < filter.len; i++)
		if (filter.filter[i].code == (BPF_RET | BPF_K) &&
		    (filter.filter[i].k & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_USER_NOTIF)
			filter.filter[i].k = SECCOMP_RET_TRACE;
}

static void target(struct sock_fprog filter, char **command)
{
	if (ptrace(PTRACE_TRACEME, 0, 0, 0))
		die("PTRACE_TRACEME");
	raise(SIGSTOP);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter))
		die("install the filter");
	execvp(command[0], command);
	die(command[0]);
}

/* The signal that a stop is to deliver: none for the stops that tracing itself makes. */
static int signal_of(int status)
{
	int number = WSTOPSIG(status);

	return status >> 16 || number == SIGTRAP || number == SIGSTOP ? 0 : number;
}

/* Let everything go on that stops, until COMMAND's first process ends. */
static int trace(pid_t first)
{
	int status;
	pid_t stopped;

	while ((stopped = waitpid(-1, &status, __WALL)) > 0) {
		if (WIFSTOPPED(status))
			ptrace(PTRACE_CONT, stopped, 0, signal_of(status));
		else if (stopped == first)
			return status;
	}
	die("waitpid");
	return 0;
}

int main(int argc, char **argv)
{
	struct sock_fprog filter;
	pid_t child;
	int status;

	if (argc < 3) {
		fprintf(stderr, "usage: tracer FILTER COMMAND [ARGUMENT...]\n");
		return 2;
	}
	filter = parse(argv[1]);
	stop_instead_of_notify(filter);
	child = fork();
	if (child < 0)
		die("fork");
	if (child == 0)
		target(filter, argv + 2);
	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
		die("the command did not stop to be traced");
	if (ptrace(PTRACE_SETOPTIONS, child, 0, OPTIONS))
		die("PTRACE_SETOPTIONS");
	ptrace(PTRACE_CONT, child, 0, 0);
	status = trace(child);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
