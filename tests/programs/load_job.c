/* load_job PROCESSES FORKERS STATUS: a job of so many processes, this one included, which live until
 * standard input ends. The first FORKERS of its children make children of their own all the while.
 * A byte on standard output says that all are there. It exits with STATUS when every child has
 * ended with its own number. Exit status 100: not all could be made; 101: one ended otherwise. */
#include <poll.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int has_ended(int timeout)
{
    struct pollfd input = { .fd = 0, .events = POLLIN };
    return poll(&input, 1, timeout) > 0;
}

static void fork_until_the_end(void)
{
    while (!has_ended(0)) {
        pid_t child = fork();
        if (child == 0)
            _exit(0);
        if (child > 0)
            waitpid(child, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    int processes = argc > 3 ? atoi(argv[1]) : 1, forkers = argc > 3 ? atoi(argv[2]) : 0;
    pid_t made[256];
    int status, right = 1;

    for (int i = 1; i < processes && i < 256; i++) {
        made[i] = fork();
        if (made[i] < 0)
            return 100;
        if (made[i] == 0) {
            if (i <= forkers)
                fork_until_the_end();
            has_ended(-1);
            _exit(i);
        }
    }
    if (write(1, ".", 1) != 1)
        return 101;
    has_ended(-1);
    for (int i = 1; i < processes && i < 256; i++)
        right &= waitpid(made[i], &status, 0) == made[i] && WIFEXITED(status) && WEXITSTATUS(status) == i;
    return right ? atoi(argv[3]) : 101;
}
