; SPDX-License-Identifier: MIT
;
; Kernels with planted faults, each right but for one thing, for the self-test of the harness. All have the prototype
; and, apart from the fault, the results of fold_crc32c_sse42.

%include "asm/fold.inc"

extern fold_crc32c_sse42

%macro REAL 0
    GROW        8
    call        fold_crc32c_sse42
    SHRINK      8
%endmacro

FN fault, wrong_length, crc, data, len          ; one length below 512
    cmp         lenq, 333
    jne         fold_crc32c_sse42
    xor         eax, eax
    RETFN
ENDFN

FN fault, wrong_align, crc, data, len           ; one misalignment
    mov         eax, datad
    and         eax, 63
    cmp         eax, 61
    jne         fold_crc32c_sse42
    xor         eax, eax
    RETFN
ENDFN

FN fault, wrong_large, crc, data, len           ; large inputs only
    cmp         lenq, 20000
    jb          fold_crc32c_sse42
    xor         eax, eax
    RETFN
ENDFN

FN fault, upper_half, crc, data, len            ; believes the upper half of a 32-bit argument
    mov         rax, crcq
    shr         rax, 32
    jz          fold_crc32c_sse42
    xor         eax, eax
    RETFN
ENDFN

FN fault, over_read, crc, data, len             ; one byte behind the data
    mov         al, [dataq + lenq]
    jmp         fold_crc32c_sse42
ENDFN

FN fault, under_read, crc, data, len            ; one byte before the data
    mov         al, [dataq - 1]
    jmp         fold_crc32c_sse42
ENDFN

FN fault, aligned_load, crc, data, len          ; trusts the alignment
    cmp         lenq, 16
    jb          fold_crc32c_sse42
    movdqa      xmm0, [dataq]
    jmp         fold_crc32c_sse42
ENDFN

%macro CLOBBER 1
FN fault, clobber_%1, crc, data, len
    REAL
    inc         %1
    RETFN
ENDFN
%endmacro

CLOBBER rbx
CLOBBER rbp
CLOBBER r12
CLOBBER r13
CLOBBER r14
CLOBBER r15

FN fault, direction, crc, data, len
    REAL
    std
    RETFN
ENDFN

FN fault, mxcsr, crc, data, len
    REAL
    stmxcsr     [rsp - 8]
    xor         dword [rsp - 8], 1 << 15        ; flush to zero
    ldmxcsr     [rsp - 8]
    RETFN
ENDFN

FN fault, dirty, crc, data, len                 ; leaves the upper half of a vector in use; AVX machines only
    REAL
    vpcmpeqd    ymm1, ymm1, ymm1
    RETFN
ENDFN

FN fault, illegal, crc, data, len
    ud2
ENDFN
