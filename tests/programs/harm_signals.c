/*
 * harm_signals ROUNDS: forks and opens files while two signals interrupt it all the time.
 *
 * SIGALRM from a 2 kHz timer and SIGCHLD have handlers that do not restart calls. Prints how many
 * calls of each kind were made and how many failed, with the last error.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t alarms, children;

static void
handle(int signal)
{
    if (signal == SIGALRM)
        alarms++;
    else
        children++;
}

static void
check(int result, const char *what)
{
    static int failures;

    if (result < 0 && ++failures < 10)
        printf("%s: %s\n", what, strerror(errno));
}

static void *
nothing(void *unused)
{
    return NULL;
}

static void
one_round(void)
{
    int fd, fds[2], error;
    pthread_t thread;
    pid_t child = fork();

    if (child == 0)
        _exit(0);
    check(child, "fork");
    fd = open("/dev/null", O_RDONLY);
    check(fd, "open");
    close(fd);
    check(pipe(fds), "pipe");
    close(fds[0]);
    close(fds[1]);
    fd = socket(AF_UNIX, SOCK_STREAM, 0);
    check(fd, "socket");
    close(fd);
    fd = eventfd(0, 0);
    check(fd, "eventfd");
    close(fd);
    error = pthread_create(&thread, NULL, nothing, NULL);
    errno = error;
    check(-error, "pthread_create");
    if (error == 0)
        pthread_join(thread, NULL);
    while (waitpid(-1, NULL, WNOHANG) > 0)
        ;
}

int
main(int count, char **arguments)
{
    struct sigaction action = { .sa_handler = handle };
    struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
    int rounds = atoi(arguments[1]);

    sigaction(SIGALRM, &action, NULL);
    sigaction(SIGCHLD, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    for (int i = 0; i < rounds; i++)
        one_round();
    setitimer(ITIMER_REAL, &never, NULL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
    puts(alarms > 0 && children > 0 ? "interrupted" : "not interrupted");
    return 0;
}
