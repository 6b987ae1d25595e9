/*
 * eintr_files N: every call that opens or creates a file N times, and moves to
 * the own CPU set, under a 2 kHz timer whose handler does not restart calls.
 * Prints the calls that failed with their number of failures and last error, and "done".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <unistd.h>

int __open_2(const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags);

static volatile sig_atomic_t handled;
static char directory[] = "/tmp/governor-eintr-XXXXXX";
static char path[sizeof directory + 10];
static sigset_t nothing;
static cpu_set_t cpus;

static void
handle(int signal)
{
    handled++;
}

static int
fd(int number)
{
    return number >= 0 ? close(number) : -1;
}

/* A user may have 128 of these in all, so another test can use them up. */
static int
scarce(int number)
{
    return number < 0 && errno == EMFILE ? 0 : fd(number);
}

static int
pair(int result, int fds[2])
{
    return result == 0 ? close(fds[0]) | close(fds[1]) : -1;
}

static int
stream(FILE *file)
{
    return file != NULL ? fclose(file) : -1;
}

static int
listing(DIR *directory)
{
    return directory != NULL ? closedir(directory) : -1;
}

static int
temporary(int number, char *name)
{
    return number >= 0 ? close(number) | unlink(name) : -1;
}

static int
error(int number)
{
    errno = number;
    return number == 0 ? 0 : -1;
}

#define TRY(name, expression) \
    { \
        int failures = 0, last = 0; \
        for (int i = 0; i < n; i++) { \
            int fds[2]; \
            char template[sizeof path + 10]; \
            (void)fds; \
            snprintf(template, sizeof template, "%s.XXXXXX", path); \
            if ((expression) < 0) { \
                failures++; \
                last = errno; \
            } \
        } \
        if (failures > 0) \
            printf("%s %d %s\n", name, failures, strerror(last)); \
    }

static void
try_opens(int n)
{
    int flags = O_RDWR | O_CREAT;

    TRY("open", fd(open(path, flags, 0600)))
    TRY("open /dev/null", fd(open("/dev/null", O_RDONLY)))
    TRY("openat", fd(openat(AT_FDCWD, path, flags, 0600)))
    TRY("open64", fd(open64(path, flags, 0600)))
    TRY("openat64", fd(openat64(AT_FDCWD, path, flags, 0600)))
    TRY("__open_2", fd(__open_2(path, O_RDONLY)))
    TRY("__openat64_2", fd(__openat64_2(AT_FDCWD, path, O_RDONLY)))
    TRY("creat", fd(creat(path, 0600)))
    TRY("fopen", stream(fopen(path, "w")))
    TRY("fopen64", stream(fopen64(path, "r")))
    TRY("opendir", listing(opendir(directory)))
    TRY("tmpfile", stream(tmpfile()))
    TRY("mkstemp", temporary(mkstemp(template), template))
    TRY("mkostemps", temporary(mkostemps(strcat(template, ".c"), 2, O_CLOEXEC), template))
}

static void
try_freopen(int n, FILE *file)
{
    int number = fileno(file);

    TRY("freopen", freopen(path, "w", file) != NULL && fileno(file) == number ? 0 : -1)
    fclose(file);
}

static void
try_others(int n)
{
    TRY("socket", fd(socket(AF_UNIX, SOCK_STREAM, 0)))
    TRY("socketpair", pair(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), fds))
    TRY("pipe", pair(pipe(fds), fds))
    TRY("pipe2", pair(pipe2(fds, O_CLOEXEC), fds))
    TRY("eventfd", fd(eventfd(0, 0)))
    TRY("epoll_create", fd(epoll_create(1)))
    TRY("epoll_create1", fd(epoll_create1(0)))
    TRY("timerfd_create", fd(timerfd_create(CLOCK_MONOTONIC, 0)))
    TRY("signalfd", fd(signalfd(-1, &nothing, 0)))
    TRY("inotify_init", scarce(inotify_init()))
    TRY("inotify_init1", scarce(inotify_init1(0)))
    TRY("memfd_create", fd(memfd_create("memory", 0)))
    TRY("posix_openpt", fd(posix_openpt(O_RDWR | O_NOCTTY)))
    TRY("sched_setaffinity", sched_setaffinity(0, sizeof cpus, &cpus))
    TRY("pthread_setaffinity_np",
        error(pthread_setaffinity_np(pthread_self(), sizeof cpus, &cpus)))
}

int
main(int count, char **arguments)
{
    struct sigaction action = { .sa_handler = handle };
    struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
    int n = atoi(arguments[1]);
    FILE *file;

    sigemptyset(&nothing);
    if (mkdtemp(directory) == NULL || sched_getaffinity(0, sizeof cpus, &cpus) < 0) {
        perror(directory);
        return 1;
    }
    snprintf(path, sizeof path, "%s/file", directory);
    if ((file = fopen(path, "w")) == NULL) {
        perror(path);
        return 1;
    }
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    try_opens(n);
    try_freopen(n, file);
    try_others(n);
    setitimer(ITIMER_REAL, &never, NULL);
    unlink(path);
    rmdir(directory);
    printf("done\n");
    return handled > 0 ? 0 : 2;
}
