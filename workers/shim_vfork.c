/*
 * vfork with all signals blocked (see shim.c), and still a vfork: forking
 * instead would copy the page tables, 32 ms for a process of 1 GB.
 *
 * Parent and child run on the same stack, one after the other, and the child
 * returns from here first and goes on to overwrite it.  What the parent needs
 * afterwards, the return address and the old mask, therefore stays in registers
 * that a system call preserves; memory only carries a mask into the next call.
 * On an architecture without a version here vfork is libc's own.
 */

#if defined __x86_64__ && !defined __ILP32__

/* rt_sigprocmask(SIG_SETMASK, -16(%rsp), OLD, 8) */
#define SET_MASK(old) \
    "lea -16(%rsp), %rsi\n" old \
    "mov $2, %edi\n" \
    "mov $8, %r10d\n" \
    "mov $14, %eax\n" \
    "syscall\n"

__asm__(
    ".text\n"
    ".globl vfork\n"
    ".type vfork, @function\n"
    "vfork:\n"
    ".cfi_startproc\n"
    "pop %r8\n" /* the return address */
    ".cfi_adjust_cfa_offset -8\n"
    ".cfi_register %rip, %r8\n"
    "movq $-1, -16(%rsp)\n"
    SET_MASK("lea -24(%rsp), %rdx\n")
    "mov -24(%rsp), %r9\n"
    "mov $58, %eax\n"
    "syscall\n"
    "mov %r9, -16(%rsp)\n"
    "mov %rax, %r9\n"
    SET_MASK("xor %edx, %edx\n")
    "mov %r9, %rax\n"
    "push %r8\n"
    ".cfi_adjust_cfa_offset 8\n"
    ".cfi_rel_offset %rip, 0\n"
    "cmp $-4095, %rax\n"
    "jae 1f\n"
    "ret\n"
    "1: neg %eax\n" /* only a parent can get here: errno = -result */
    "push %rax\n"
    ".cfi_adjust_cfa_offset 8\n"
    "call __errno_location@PLT\n"
    "pop %rdx\n"
    ".cfi_adjust_cfa_offset -8\n"
    "mov %edx, (%rax)\n"
    "mov $-1, %rax\n"
    "ret\n"
    ".cfi_endproc\n"
    ".size vfork, . - vfork\n"
    ".weak __errno_location\n");

#elif defined __aarch64__

/* rt_sigprocmask(SIG_SETMASK, sp, OLD, 8); no red zone here, so sp moves first. */
#define SET_MASK(old) \
    "mov x0, #2\n" \
    "mov x1, sp\n" old \
    "mov x3, #8\n" \
    "mov x8, #135\n" \
    "svc #0\n"

__asm__(
    ".text\n"
    ".globl vfork\n"
    ".type vfork, %function\n"
    "vfork:\n"
    ".cfi_startproc\n"
    "mov x9, #-1\n"
    "str x9, [sp, #-16]!\n"
    ".cfi_adjust_cfa_offset 16\n"
    SET_MASK("add x2, sp, #8\n")
    "ldr x10, [sp, #8]\n"
    "mov x0, #0x4111\n" /* clone(CLONE_VM | CLONE_VFORK | SIGCHLD, 0) */
    "mov x1, #0\n"
    "mov x8, #220\n"
    "svc #0\n"
    "mov x9, x0\n"
    "str x10, [sp]\n"
    SET_MASK("mov x2, #0\n")
    "mov x0, x9\n"
    "add sp, sp, #16\n"
    ".cfi_adjust_cfa_offset -16\n"
    "cmn x0, #4095\n"
    "b.hs 1f\n"
    "ret\n"
    "1: neg w9, w0\n" /* only a parent can get here: errno = -result */
    "stp x9, x30, [sp, #-16]!\n"
    ".cfi_adjust_cfa_offset 16\n"
    ".cfi_rel_offset x30, 8\n"
    "bl __errno_location\n"
    "ldp x9, x30, [sp], #16\n"
    ".cfi_adjust_cfa_offset -16\n"
    ".cfi_restore x30\n"
    "str w9, [x0]\n"
    "mov x0, #-1\n"
    "ret\n"
    ".cfi_endproc\n"
    ".size vfork, . - vfork\n"
    ".weak __errno_location\n");

#endif
