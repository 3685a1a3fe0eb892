/* From reset to main: trap vector, stack, .bss. RAM is loaded as it was linked, .data with it, also at every
 * reset. picolibc's own startup is not used: it would want a memory map of its own. */
    .option arch, +zicsr
    .section .start, "ax"
    .globl _start
_start:
    la t0, trap
    csrw mtvec, t0
    .option push
    .option norelax
    la gp, __global_pointer$
    .option pop
    la sp, _stack_top
    la t0, _bss_start
    la t1, _bss_end
clear:
    bgeu t0, t1, cleared
    sw zero, 0(t0)
    addi t0, t0, 4
    j clear
cleared:
    li t0, 0x800
    csrs mie, t0 /* an interrupt of the PLIC ends a wfi; mstatus.MIE is off, so it is never taken */
    call main
    /* A firmware never returns, and nothing traps but a fault: both end in a reset. */
    .align 2
trap:
    li t0, 0x100000
    li t1, 0x7777
    sw t1, 0(t0)
    j trap
