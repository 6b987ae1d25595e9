/*
 * The shim: a preload library that keeps signals from spoiling trapped calls.
 *
 * A trapped system call waits for the agent.  A signal with a handler that
 * arrives before the agent has received the call interrupts that wait, and the
 * call fails with EINTR although it can never do so by itself.  So here
 *  - fork, _Fork and vfork run with signals blocked (vfork: shim_vfork.c);
 *  - calls that create files are repeated after an EINTR, save where an EINTR
 *    may rightly come: opening a FIFO, a terminal, or anything that took long.
 * accept and accept4 are left alone: they may always return EINTR.
 *
 * It must do no harm wherever it gets preloaded.  There is no DT_NEEDED, all of
 * libc is referenced weakly, each wrapped function is looked up when it is first
 * called, and an exec pays for one registration and nothing else.
 */
#undef _FORTIFY_SOURCE
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#pragma weak __errno_location
#pragma weak __fpending
#pragma weak clock_gettime
#pragma weak fflush
#pragma weak strlen
#pragma weak syscall
/* glibc < 2.34 keeps dlsym in libdl, which only a strong reference brings in. */
#if !defined __GLIBC__ || __GLIBC_PREREQ(2, 34)
#pragma weak dlsym
#endif

enum { KERNEL_SIGSET_BYTES = 8, MEMORY_DEVICES = 1, WINDOW_MS = 500 };

/* ---- finding the function that ours stands in front of ------------------ */

struct wrapped {
    const char *name;
    void *next;
};

/* Every WRAPPED() lands in one section, so that a fork can resolve them all. */
#define HIDDEN __attribute__((visibility("hidden")))
extern struct wrapped __start_governor_wrapped[] HIDDEN, __stop_governor_wrapped[] HIDDEN;

#define WRAPPED(function) \
    static struct wrapped next_##function \
        __attribute__((section("governor_wrapped"), used)) = { #function, NULL }

static void *
resolve(struct wrapped *w)
{
    void *next = __atomic_load_n(&w->next, __ATOMIC_RELAXED);

    if (next == NULL && dlsym != NULL) {
        next = dlsym(RTLD_NEXT, w->name);
        __atomic_store_n(&w->next, next, __ATOMIC_RELAXED);
    }
    if (next == NULL)
        errno = ENOSYS;
    return next;
}

#define NEXT(function) ((__typeof__(&function))resolve(&next_##function))

/* ---- fork --------------------------------------------------------------- */

static __thread unsigned long long mask_before_fork
    __attribute__((tls_model("initial-exec")));

/* The raw call: libc's own leaves the two signals it uses itself unblocked. */
static void
set_mask(const unsigned long long *mask, unsigned long long *old)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, mask, old, KERNEL_SIGSET_BYTES);
}

static void
block_signals(unsigned long long *old)
{
    static const unsigned long long all = ~0ULL;

    set_mask(&all, old);
}

static void
before_fork(void)
{
    block_signals(&mask_before_fork);
}

static void
after_fork(void)
{
    set_mask(&mask_before_fork, NULL);
}

/*
 * Fork handlers rather than a fork() of our own: this covers the forks that
 * libc does itself (daemon, forkpty), and as prepare handlers run in reverse
 * order of registration, the program's own run with the mask it expects.
 */
extern int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *)
    __attribute__((weak));

__attribute__((constructor)) static void
start(void)
{
    if (__register_atfork != NULL)
        __register_atfork(before_fork, after_fork, after_fork, NULL);
}

WRAPPED(fork);

/*
 * In the child of a threaded process the loader's lock may be held by a thread
 * that is no more, so everything is looked up before.  Not in a fork handler:
 * before glibc 2.36 those run with another lock held.
 */
pid_t
fork(void)
{
    static int resolved;
    pid_t (*next)(void) = NEXT(fork);
    int saved = errno;

    /* Written once: each write after a fork would copy a page. */
    if (!__atomic_load_n(&resolved, __ATOMIC_RELAXED)) {
        for (struct wrapped *w = __start_governor_wrapped; w < __stop_governor_wrapped; w++)
            resolve(w);
        __atomic_store_n(&resolved, 1, __ATOMIC_RELAXED);
        errno = saved;
    }
    return next == NULL ? -1 : next();
}

extern pid_t _Fork(void);
WRAPPED(_Fork);

/* As async-signal-safe as the original, which runs no fork handlers. */
pid_t
_Fork(void)
{
    pid_t (*next)(void) = NEXT(_Fork), pid;
    unsigned long long old;

    if (next == NULL)
        return -1;
    block_signals(&old);
    pid = next();
    set_mask(&old, NULL);
    return pid;
}

/* ---- repeating a call that our trap made fail --------------------------- */

/*
 * Calls `function` again while it fails with EINTR and `ours` holds.  errno is
 * what it was before a failure that the caller does not get to see.
 */
#define REPEAT(function, failed, ours, ...) \
    __extension__({ \
        __typeof__(&function) next_ = NEXT(function); \
        int errno_ = errno; \
        __typeof__(function(__VA_ARGS__)) result_ = failed; \
        if (next_ != NULL) { \
            while ((result_ = next_(__VA_ARGS__)) == failed && errno == EINTR && (ours)) \
                errno = errno_; \
        } \
        result_; \
    })

/* Calls that cannot return EINTR by themselves. */
#define NEVER_WAITS(type, failed, function, parameters, ...) \
    WRAPPED(function); \
    type function parameters { return REPEAT(function, failed, 1, __VA_ARGS__); }

NEVER_WAITS(int, -1, socket, (int domain, int type, int protocol), domain, type, protocol)
NEVER_WAITS(int, -1, socketpair, (int domain, int type, int protocol, int fds[2]),
            domain, type, protocol, fds)
NEVER_WAITS(int, -1, pipe, (int fds[2]), fds)
NEVER_WAITS(int, -1, pipe2, (int fds[2], int flags), fds, flags)
NEVER_WAITS(int, -1, eventfd, (unsigned int count, int flags), count, flags)
NEVER_WAITS(int, -1, epoll_create, (int size), size)
NEVER_WAITS(int, -1, epoll_create1, (int flags), flags)
NEVER_WAITS(int, -1, timerfd_create, (clockid_t clock, int flags), clock, flags)
NEVER_WAITS(int, -1, signalfd, (int fd, const sigset_t *mask, int flags), fd, mask, flags)
NEVER_WAITS(int, -1, inotify_init, (void))
NEVER_WAITS(int, -1, inotify_init1, (int flags), flags)
NEVER_WAITS(int, -1, fanotify_init, (unsigned int flags, unsigned int event_flags),
            flags, event_flags)
NEVER_WAITS(int, -1, memfd_create, (const char *name, unsigned int flags), name, flags)
NEVER_WAITS(int, -1, shm_open, (const char *name, int flags, mode_t mode), name, flags, mode)
NEVER_WAITS(int, -1, posix_openpt, (int flags), flags)
NEVER_WAITS(int, -1, openpty,
            (int *master, int *slave, char *name, const struct termios *termios,
             const struct winsize *size),
            master, slave, name, termios, size)
NEVER_WAITS(int, -1, sched_setaffinity, (pid_t pid, size_t size, const cpu_set_t *set),
            pid, size, set)
NEVER_WAITS(DIR *, NULL, opendir, (const char *path), path)
NEVER_WAITS(FILE *, NULL, popen, (const char *command, const char *mode), command, mode)
NEVER_WAITS(FILE *, NULL, tmpfile, (void))
NEVER_WAITS(FILE *, NULL, tmpfile64, (void))

WRAPPED(pthread_setaffinity_np);

/* Returns the error instead of setting errno. */
int
pthread_setaffinity_np(pthread_t thread, size_t size, const cpu_set_t *set)
{
    __typeof__(&pthread_setaffinity_np) next = NEXT(pthread_setaffinity_np);
    int error = next == NULL ? ENOSYS : EINTR;

    while (error == EINTR)
        error = next(thread, size, set);
    return error;
}

/* ---- opening files ------------------------------------------------------ */

static long
now_ms(void)
{
    struct timespec t = { 0, 0 };

    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Whether opening this path may wait for somebody, and so be interrupted. */
static int
may_wait(int dirfd, const char *path)
{
    struct stat st;
    int saved = errno;
    int known = syscall(SYS_newfstatat, dirfd, path, &st, 0) == 0;

    errno = saved;
    if (!known)
        return 0;
    return S_ISFIFO(st.st_mode)
        || (S_ISCHR(st.st_mode) && major(st.st_rdev) != MEMORY_DEVICES);
}

/*
 * Whether an open that failed with EINTR owes it to our trap.  The window is
 * short; what waited longer was held up by a network or user-space file system
 * whose user set an alarm for that.
 */
static int
trapped(long start, int dirfd, const char *path, int flags)
{
    if (now_ms() - start > WINDOW_MS)
        return 0;
    return (flags & O_NONBLOCK) != 0 || !may_wait(dirfd, path);
}

#ifndef __OPEN_NEEDS_MODE
#define __OPEN_NEEDS_MODE(flags) \
    (((flags) & O_CREAT) != 0 || ((flags) & O_TMPFILE) == O_TMPFILE)
#endif

/* The mode is there only with certain flags; what was not passed is not read. */
#define MODE(mode, flags) \
    mode_t mode = 0; \
    if (__OPEN_NEEDS_MODE(flags)) { \
        va_list arguments; \
        va_start(arguments, flags); \
        mode = va_arg(arguments, mode_t); \
        va_end(arguments); \
    }

#define OPEN(function) \
    WRAPPED(function); \
    int function(const char *path, int flags, ...) \
    { \
        long start = now_ms(); \
        MODE(mode, flags) \
        return REPEAT(function, -1, trapped(start, AT_FDCWD, path, flags), path, flags, mode); \
    }

#define OPENAT(function) \
    WRAPPED(function); \
    int function(int dirfd, const char *path, int flags, ...) \
    { \
        long start = now_ms(); \
        MODE(mode, flags) \
        return REPEAT(function, -1, trapped(start, dirfd, path, flags), \
                      dirfd, path, flags, mode); \
    }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* Opens whose flags and arguments are fixed. */
#define MAY_WAIT(type, failed, dirfd, flags, function, parameters, ...) \
    WRAPPED(function); \
    type function parameters \
    { \
        long start = now_ms(); \
        return REPEAT(function, failed, trapped(start, dirfd, path, flags), __VA_ARGS__); \
    }

/* What open and openat become in programs compiled with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags);
MAY_WAIT(int, -1, AT_FDCWD, flags, __open_2, (const char *path, int flags), path, flags)
MAY_WAIT(int, -1, AT_FDCWD, flags, __open64_2, (const char *path, int flags), path, flags)
MAY_WAIT(int, -1, dirfd, flags, __openat_2, (int dirfd, const char *path, int flags),
         dirfd, path, flags)
MAY_WAIT(int, -1, dirfd, flags, __openat64_2, (int dirfd, const char *path, int flags),
         dirfd, path, flags)

MAY_WAIT(int, -1, AT_FDCWD, 0, creat, (const char *path, mode_t mode), path, mode)
MAY_WAIT(int, -1, AT_FDCWD, 0, creat64, (const char *path, mode_t mode), path, mode)
MAY_WAIT(FILE *, NULL, AT_FDCWD, 0, fopen, (const char *path, const char *mode), path, mode)
MAY_WAIT(FILE *, NULL, AT_FDCWD, 0, fopen64, (const char *path, const char *mode), path, mode)

/*
 * freopen closes the old file first, so a second try would not be the same as
 * the first: block signals instead.  What is still buffered is written before
 * that, since that write may wait.
 */
#define FREOPEN(function) \
    WRAPPED(function); \
    FILE *function(const char *path, const char *mode, FILE *stream) \
    { \
        __typeof__(&function) next = NEXT(function); \
        unsigned long long old; \
        if (next == NULL || path == NULL || may_wait(AT_FDCWD, path)) \
            return next == NULL ? NULL : next(path, mode, stream); \
        if (__fpending(stream) > 0) \
            fflush(stream); \
        block_signals(&old); \
        stream = next(path, mode, stream); \
        set_mask(&old, NULL); \
        return stream; \
    }

FREOPEN(freopen)
FREOPEN(freopen64)

/* A failed mkstemp leaves a name in the template; puts the Xs back. */
static int
renew(char *template, int suffix_length)
{
    char *end = template + strlen(template) - suffix_length;

    for (char *x = end - 6; x < end; x++)
        *x = 'X';
    return 1;
}

#define MAKES_NAME(function, suffix_length, parameters, ...) \
    WRAPPED(function); \
    int function parameters \
    { \
        return REPEAT(function, -1, renew(template, suffix_length), __VA_ARGS__); \
    }

MAKES_NAME(mkstemp, 0, (char *template), template)
MAKES_NAME(mkstemp64, 0, (char *template), template)
MAKES_NAME(mkostemp, 0, (char *template, int flags), template, flags)
MAKES_NAME(mkostemp64, 0, (char *template, int flags), template, flags)
MAKES_NAME(mkstemps, length, (char *template, int length), template, length)
MAKES_NAME(mkstemps64, length, (char *template, int length), template, length)
MAKES_NAME(mkostemps, length, (char *template, int length, int flags), template, length, flags)
MAKES_NAME(mkostemps64, length, (char *template, int length, int flags), template, length, flags)
