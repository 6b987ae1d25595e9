/*
 * eintr_forks N: N forks with a SIGCHLD handler that does not restart calls.
 * Prints "ok N eintr N other N".
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void
handle(int signal)
{
}

int
main(int count, char **arguments)
{
    struct sigaction action = { .sa_handler = handle };
    int ok = 0, eintr = 0, other = 0;

    sigaction(SIGCHLD, &action, NULL);
    for (int i = 0; i < atoi(arguments[1]); i++) {
        pid_t child = fork();

        if (child == 0)
            _exit(0);
        if (child > 0)
            ok++;
        else if (errno == EINTR)
            eintr++;
        else
            other++;
        /* Leave some to exit while the next fork goes on. */
        if (i % 3 == 2)
            while (waitpid(-1, NULL, WNOHANG) > 0)
                ;
    }
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    printf("ok %d eintr %d other %d\n", ok, eintr, other);
    return 0;
}
