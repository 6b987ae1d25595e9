/* The operations that `governor bench` times.
 *
 *     loop mean|each OPERATION COUNT
 *
 * does OPERATION once per round, COUNT rounds after a warm-up of a tenth as many, and prints on one line the
 * mean nanoseconds per operation, or those of each. The program reads the clock itself, so that starting it
 * costs nothing in the figures. An operation that fails ends the program with status 1 and the reason on stderr.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_SECONDS = 60, MOST_ROUNDS = 100 * 1000 * 1000, MOST_TOLD = 100 * 1000 };

static void die(const char *what, int error)
{
	fprintf(stderr, "loop: %s: %s\n", what, strerror(error));
	exit(1);
}

static void reap(const char *what, pid_t child)
{
	int status;

	if (child < 0)
		die(what, errno);
	if (waitpid(child, &status, 0) != child)
		die("waitpid", errno);
	if (status)
		die(what, ECHILD);
}

static void fork_and_wait(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	reap("fork", child);
}

/* This very program is what is started, with nothing to do: it is there on every host. */
static void vfork_and_exec(void)
{
	pid_t child = vfork();

	if (child == 0) {
		execl("/proc/self/exe", "loop", "nothing", NULL);
		_exit(127);
	}
	reap("vfork", child);
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

static void socket_and_close(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket", errno);
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
	{"vfork", vfork_and_exec},
	{"thread", create_and_join},
	{"open", open_and_close},
	{"socket", socket_and_close},
	{"getppid", untrapped},
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1e9 + t.tv_nsec;
}

static void warm_up(void (*run)(void), long count)
{
	for (long i = 0; i < count / 10 + 1; i++)
		run();
}

static void tell_mean(void (*run)(void), long count)
{
	double start = now();

	for (long i = 0; i < count; i++)
		run();
	printf("%.2f\n", (now() - start) / count);
}

/* Printed at the end, so that no write comes between two operations. */
static void tell_each(void (*run)(void), long count)
{
	static float taken[MOST_TOLD];
	double before = now(), after;

	for (long i = 0; i < count; i++) {
		run();
		after = now();
		taken[i] = after - before;
		before = after;
	}
	for (long i = 0; i < count; i++)
		printf("%.0f ", taken[i]);
	putchar('\n');
}

int main(int argc, char **argv)
{
	int each = argc == 4 && strcmp(argv[1], "each") == 0;
	long count = argc == 4 ? strtol(argv[3], NULL, 10) : 0;

	if (argc == 2 && strcmp(argv[1], "nothing") == 0)
		return 0;
	if (count < 1 || count > (each ? MOST_TOLD : MOST_ROUNDS)) {
		fprintf(stderr, "usage: loop mean|each OPERATION COUNT (1 to %d, each to %d)\n", MOST_ROUNDS,
			MOST_TOLD);
		return 2;
	}
	alarm(LONGEST_SECONDS);
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
		if (strcmp(argv[2], operations[i].name) == 0) {
			warm_up(operations[i].run, count);
			(each ? tell_each : tell_mean)(operations[i].run, count);
			return 0;
		}
	fprintf(stderr, "loop: no operation %s\n", argv[2]);
	return 2;
}
