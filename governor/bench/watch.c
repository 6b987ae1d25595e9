/* When a change of a limit takes effect.
 *
 *     watch
 *
 * makes threads, one after another, until its input ends or for a minute, and prints a line whenever that begins to
 * be refused or to be allowed again: "refused" or "allowed", and when the call returned, in nanoseconds of
 * CLOCK_MONOTONIC. The first line is "allowed".
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { LONGEST_SECONDS = 60 };

static void *nothing(void *argument)
{
	return argument;
}

static int input_goes_on(void)
{
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&input, 1, 0) == 0;
}

int main(void)
{
	int before = -1;

	alarm(LONGEST_SECONDS);
	while (input_goes_on()) {
		pthread_t thread;
		int refused = pthread_create(&thread, NULL, nothing, NULL) != 0;
		struct timespec t;

		clock_gettime(CLOCK_MONOTONIC, &t);
		if (!refused)
			pthread_join(thread, NULL);
		if (refused == before)
			continue;
		printf("%s %lld\n", refused ? "refused" : "allowed", t.tv_sec * 1000000000LL + t.tv_nsec);
		if (fflush(stdout))
			return 1;
		before = refused;
	}
	return 0;
}
