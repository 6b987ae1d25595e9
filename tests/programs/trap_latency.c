/* How long calls take that are trapped.
 *
 *     trap_latency COUNT
 *
 * opens /dev/null COUNT times after a warm-up of a tenth as many, and prints the nanoseconds of the median
 * call and those that 99 of 100 calls are faster than.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

static long opened(void)
{
	long began = now();
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	long took = now() - began;

	if (fd < 0) {
		perror("trap_latency");
		exit(1);
	}
	close(fd);
	return took;
}

static int compare(const void *one, const void *other)
{
	long a = *(const long *)one, b = *(const long *)other;

	return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
	int count = argc > 1 ? atoi(argv[1]) : 0;
	long *took = count > 0 ? malloc(count * sizeof *took) : NULL;

	if (!took)
		return 2;
	for (int i = 0; i < count / 10; i++)
		opened();
	for (int i = 0; i < count; i++)
		took[i] = opened();
	qsort(took, count, sizeof *took, compare);
	printf("%ld %ld\n", took[count / 2], took[(long)count * 99 / 100]);
	return 0;
}
