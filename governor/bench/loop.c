/* The operations that `governor bench` times.
 *
 *     loop OPERATION COUNT
 *
 * does OPERATION once per round, COUNT rounds after a warm-up of a tenth as many, and prints the mean
 * nanoseconds per operation on one line. The program reads the clock itself, so that starting it costs
 * nothing in the figures. An operation that fails ends the program with status 1 and the reason on stderr.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_SECONDS = 60, MOST_ROUNDS = 100 * 1000 * 1000 };

static void die(const char *what, int error)
{
	fprintf(stderr, "loop: %s: %s\n", what, strerror(error));
	exit(1);
}

static void fork_and_wait(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	if (child < 0)
		die("fork", errno);
	if (waitpid(child, NULL, 0) != child)
		die("waitpid", errno);
}

static void *nothing(void *argument)
{
	return argument;
}

static void create_and_join(void)
{
	pthread_t thread;
	int error = pthread_create(&thread, NULL, nothing, NULL);

	if (error)
		die("pthread_create", error);
	pthread_join(thread, NULL);
}

static void open_and_close(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		die("open", errno);
	close(fd);
}

/* No filter of governor traps getppid, and unlike getpid no C library ever cached it. */
static void untrapped(void)
{
	syscall(SYS_getppid);
}

static const struct {
	const char *name;
	void (*run)(void);
} operations[] = {
	{"fork", fork_and_wait},
	{"thread", create_and_join},
	{"open", open_and_close},
	{"getppid", untrapped},
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void measure(void (*run)(void), long count)
{
	double start;

	for (long i = 0; i < count / 10 + 1; i++)
		run();
	start = now();
	for (long i = 0; i < count; i++)
		run();
	printf("%.2f\n", (now() - start) / count);
}

int main(int argc, char **argv)
{
	long count = argc == 3 ? strtol(argv[2], NULL, 10) : 0;

	if (count < 1 || count > MOST_ROUNDS) {
		fprintf(stderr, "usage: loop OPERATION COUNT (1 to %d)\n", MOST_ROUNDS);
		return 2;
	}
	alarm(LONGEST_SECONDS);
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
		if (strcmp(argv[1], operations[i].name) == 0) {
			measure(operations[i].run, count);
			return 0;
		}
	fprintf(stderr, "loop: no operation %s\n", argv[1]);
	return 2;
}
