/* Processes that do nothing, as members of a group.
 *
 *     idle COUNT
 *
 * prints the pids of COUNT processes, itself first, on one line, and ends with all of them when its input does:
 * after its children, so that whoever waits for it may remove the group.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST = 20000 };

int main(int argc, char **argv)
{
	long count = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
	static pid_t children[MOST];
	char byte;

	if (count < 1 || count > MOST) {
		fprintf(stderr, "usage: idle COUNT (1 to %d)\n", MOST);
		return 2;
	}
	printf("%d", getpid());
	for (long i = 1; i < count; i++) {
		fflush(stdout);
		pid_t child = fork();

		if (child == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		if (child < 0) {
			perror("idle: fork");
			return 1;
		}
		children[i] = child;
		printf(" %d", child);
	}
	putchar('\n');
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	for (long i = 1; i < count; i++)
		kill(children[i], SIGKILL);
	while (wait(NULL) > 0)
		;
	return 0;
}
