/* A seccomp filter given on the command line, and how a program that cannot go on ends. */
#include <errno.h>
#include <linux/filter.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct sock_filter program[BPF_MAXINSNS];

static void die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, strerror(errno));
	_exit(125);
}

static struct sock_fprog parse(const char *hex)
{
	size_t length = strlen(hex) / 2;
	unsigned char *bytes = (unsigned char *)program;
	struct sock_fprog parsed = {length / sizeof *program, program};

	errno = EINVAL;
	if (!length || length % sizeof *program || length > sizeof program)
		die("the filter is no BPF program");
	for (size_t i = 0; i < length; i++)
		if (sscanf(hex + 2 * i, "%2hhx", bytes + i) != 1)
			die("the filter is not hexadecimal");
	return parsed;
}

