/* The operations that `governor bench` times.
 *
 *     loop mean|each|together|instructions OPERATION COUNT
 *
 * does OPERATION once per round, COUNT rounds after a warm-up of a tenth as many, and prints on one line
 *
 *     mean          the mean nanoseconds per operation
 *     each          those of each
 *     together      when it began and ended (CLOCK_MONOTONIC); before, it says "ready" and waits for the end
 *                   of its input, so that several loops can begin at once
 *     instructions  how many instructions one took, of the loop and its children, in user and kernel mode
 *
 * The program reads the clock itself, so that starting it costs nothing in the figures. An operation that fails
 * ends the program with status 1 and the reason on stderr. `loop now` prints when its main function began.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
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

static void tell_together(void (*run)(void), long count)
{
	double start;
	char byte;

	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	start = now();
	for (long i = 0; i < count; i++)
		run();
	printf("%.0f %.0f\n", start, now());
}

static void tell_instructions(void (*run)(void), long count)
{
	struct perf_event_attr what = {.type = PERF_TYPE_HARDWARE, .size = sizeof what, .inherit = 1,
				       .config = PERF_COUNT_HW_INSTRUCTIONS, .exclude_hv = 1};
	int counter = syscall(SYS_perf_event_open, &what, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	unsigned long long before, after;

	if (counter < 0 || read(counter, &before, sizeof before) != sizeof before)
		die("perf_event_open", errno);
	for (long i = 0; i < count; i++)
		run();
	if (read(counter, &after, sizeof after) != sizeof after)
		die("read a counter", errno);
	printf("%.1f\n", (double)(after - before) / count);
}

static const struct {
	const char *name;
	void (*tell)(void (*run)(void), long count);
	long most;
} ways[] = {
	{"mean", tell_mean, MOST_ROUNDS},
	{"each", tell_each, MOST_TOLD},
	{"together", tell_together, MOST_ROUNDS},
	{"instructions", tell_instructions, MOST_ROUNDS},
};

static int find_way(const char *name)
{
	for (size_t i = 0; i < sizeof ways / sizeof *ways; i++)
		if (strcmp(name, ways[i].name) == 0)
			return i;
	return -1;
}

static int find_operation(const char *name)
{
	for (size_t i = 0; i < sizeof operations / sizeof *operations; i++)
		if (strcmp(name, operations[i].name) == 0)
			return i;
	return -1;
}

int main(int argc, char **argv)
{
	double began = now();
	int way, operation;
	long count;

	if (argc == 2 && strcmp(argv[1], "nothing") == 0)
		return 0;
	if (argc == 2 && strcmp(argv[1], "now") == 0)
		return printf("%.0f\n", began) < 0;
	way = argc == 4 ? find_way(argv[1]) : -1;
	count = argc == 4 ? strtol(argv[3], NULL, 10) : 0;
	if (way < 0 || count < 1 || count > ways[way].most) {
		fprintf(stderr, "usage: loop mean|each|together|instructions OPERATION COUNT (1 to %d, each to %d)\n",
			MOST_ROUNDS, MOST_TOLD);
		return 2;
	}
	operation = find_operation(argv[2]);
	if (operation < 0) {
		fprintf(stderr, "loop: no operation %s\n", argv[2]);
		return 2;
	}
	alarm(LONGEST_SECONDS);
	warm_up(operations[operation].run, count);
	ways[way].tell(operations[operation].run, count);
	return 0;
}
