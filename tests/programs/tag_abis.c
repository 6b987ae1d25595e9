/* Try to change RLIMIT_LOCKS, which carries the tag, of this process and of its parent, through
   the i386 and x32 system call tables. Exits with 0 when it is what it was. */
#define _GNU_SOURCE
#include <sys/resource.h>
#include <unistd.h>

/* Below 4 GiB, where i386 can point to, as the program is linked without PIE. */
static struct rlimit wanted = {7, 7};

static long i386(long nr, long a, long b, const void *c)
{
    long result;
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(0L)
                     : "memory", "r8", "r9", "r10", "r11");
    return result;
}

static long x32(long nr, long a, long b, const void *c)
{
    long result;
    register long none __asm__("r10") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(0x40000000L | nr), "D"(a), "S"(b), "d"(c), "r"(none)
                     : "rcx", "r11", "memory");
    return result;
}

int main(void)
{
    struct rlimit before, after;
    long pids[] = {0, getppid(), getpid()};
    getrlimit(RLIMIT_LOCKS, &before);
    i386(75, RLIMIT_LOCKS, (long)&wanted, 0);
    x32(160, RLIMIT_LOCKS, (long)&wanted, 0);
    for (int i = 0; i < 3; i++) {
        i386(340, pids[i], RLIMIT_LOCKS, &wanted);
        x32(302, pids[i], RLIMIT_LOCKS, &wanted);
    }
    setrlimit(RLIMIT_LOCKS, &wanted);
    prlimit(pids[1], RLIMIT_LOCKS, &wanted, 0);
    getrlimit(RLIMIT_LOCKS, &after);
    return before.rlim_cur != after.rlim_cur || before.rlim_max != after.rlim_max;
}
