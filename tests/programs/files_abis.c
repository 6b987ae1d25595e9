/* files_abis: opens files through the other system call tables of an x86_64 kernel. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define X32 0x40000000

static void
report(const char *what, long result)
{
    printf("%s %s\n", what, result < 0 ? strerrorname_np(-result) : "made a file");
}

static long
i386(long number, long a, long b)
{
    long result;

    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b)
                     : "memory", "r8", "r9", "r10", "r11");
    return (int)result;
}

int
main(void)
{
    /* That table takes addresses of 32 bits. */
    char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    long result;

    strcpy(low, "/dev/null");
    report("i386 open", i386(5, (long)low, 0));
    report("i386 eventfd", i386(323, 0, 0));
    result = syscall(X32 + 2, low, 0);
    report("x32 open", result < 0 ? -errno : result);
    return 0;
}
