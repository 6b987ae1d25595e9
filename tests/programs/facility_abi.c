/* Ask for our pid through the other system call ABIs of x86_64: prints "i386 <result>" and
   "x32 <result>", where a negative result is minus an errno. */
#include <stdio.h>

int main(void)
{
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
    printf("i386 %d\n", (int)result);
    __asm__ volatile("syscall" : "=a"(result) : "a"(0x40000000L | 39) : "rcx", "r11", "memory");
    printf("x32 %ld\n", result);
    return 0;
}
