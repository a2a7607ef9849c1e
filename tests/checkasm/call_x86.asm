; SPDX-License-Identifier: MIT
;
; uint64_t fold_check_call(check_fn fn, const uint64_t *args, struct call_state *state)
;
; Calls fn(args[0..5]) with known values in all preserved registers and junk in all others, and reports what changed.
;
; struct call_state: avx, avx512, xinuse (in), clobber, inuse (out), eight bytes each.

%include "asm/fold.inc"

%define STATE_AVX     0
%define STATE_AVX512  8
%define STATE_XINUSE  16
%define STATE_CLOBBER 24
%define STATE_INUSE   32

%macro SENTINEL 2                   ; %1 register, %2 number
    mov         %1, 0x0123456789abcd00 + %2
%endmacro

; Sets bit %2 of rsi if %1 is not its sentinel
%macro COMPARE 2
    SENTINEL    rdx, %2
    cmp         rdx, %1
    je          %%same
    or          esi, 1 << %2
%%same:
%endmacro

FN check, call, fn, args, state
    SAVE        rbx, rbp, r12, r13, r14, r15
    GROW        40
    mov         [rsp], stateq
    mov         [rsp + 8], fnq
    stmxcsr     [rsp + 16]
    fnstcw      [rsp + 20]
    pcmpeqd     xmm0, xmm0
    %assign i 1
    %rep 15
    movdqa      xmm %+ i, xmm0
    %assign i i + 1
    %endrep
    cmp         qword [stateq + STATE_AVX], 0
    je          .filled
    vzeroupper
    cmp         qword [stateq + STATE_AVX512], 0
    je          .filled
    %assign i 16
    %rep 16
    vpternlogd  zmm %+ i, zmm %+ i, zmm %+ i, 0xff
    %assign i i + 1
    %endrep
    %assign i 1
    %rep 7
    kxnorq      k %+ i, k %+ i, k %+ i
    %assign i i + 1
    %endrep
.filled:
    mov         rax, argsq
    mov         rdi, [rax]
    mov         rsi, [rax + 8]
    mov         rdx, [rax + 16]
    mov         rcx, [rax + 24]
    mov         r8, [rax + 32]
    mov         r9, [rax + 40]
    SENTINEL    rbx, 0
    SENTINEL    rbp, 1
    SENTINEL    r12, 2
    SENTINEL    r13, 3
    SENTINEL    r14, 4
    SENTINEL    r15, 5
    mov         rax, 0xfeedfacefeedface
    mov         r10, rax
    mov         r11, rax
    call        [rsp + 8]
    mov         r8, rax
    xor         esi, esi
    COMPARE     rbx, 0
    COMPARE     rbp, 1
    COMPARE     r12, 2
    COMPARE     r13, 3
    COMPARE     r14, 4
    COMPARE     r15, 5
    pushfq
    pop         rdx
    test        edx, 1 << 10        ; direction flag
    jz          .forward
    cld
    or          esi, 1 << 6
.forward:
    stmxcsr     [rsp + 24]
    mov         eax, [rsp + 24]
    xor         eax, [rsp + 16]
    and         eax, ~0x3f          ; sticky exception flags may change
    jz          .mxcsr
    ldmxcsr     [rsp + 16]
    or          esi, 1 << 7
.mxcsr:
    fnstcw      [rsp + 24]
    mov         ax, [rsp + 24]
    cmp         ax, [rsp + 20]
    je          .x87
    fldcw       [rsp + 20]
    or          esi, 1 << 8
.x87:
    mov         r9, [rsp]
    mov         [r9 + STATE_CLOBBER], rsi
    cmp         qword [r9 + STATE_XINUSE], 0
    je          .done
    mov         ecx, 1
    xgetbv
    mov         [r9 + STATE_INUSE], rax
.done:
    cmp         qword [r9 + STATE_AVX], 0
    je          .out
    vzeroupper
.out:
    mov         rax, r8
    SHRINK      40
    RETFN
ENDFN
