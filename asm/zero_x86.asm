; SPDX-License-Identifier: MIT
;
; size_t fold_zero_run_<isa>(const void *data, size_t len)
; size_t fold_data_run_<isa>(const void *data, size_t len, size_t block)
;
; zero_run joins four vectors by OR and tests them with one branch; when that finds something, or fewer are left, single
; vectors follow and the byte is located. data_run looks at the first 64 bytes of a block, which settles nearly every
; block that is not zero, before it runs over the rest.
;
; Registers: rdi walks, rsi bytes left, r9 length at entry.

%include "asm/fold.inc"

;=============================================================================================================== AVX-512
FN zero_run, avx512, data, len
    mov         r9, lenq
    sub         lenq, 256
    jb          .singles
.loop:
    vmovdqu64   zmm0, [dataq]
    vmovdqu64   zmm1, [dataq + 64]
    vporq       zmm0, zmm0, [dataq + 128]
    vpternlogq  zmm0, zmm1, [dataq + 192], 0xfe
    vptestmd    k1, zmm0, zmm0
    kortestw    k1, k1
    jnz         .singles
    add         dataq, 256
    sub         lenq, 256
    jae         .loop
.singles:
    add         lenq, 256
    sub         lenq, 64
    jb          .tail
.single:
    vmovdqu64   zmm0, [dataq]
    vptestmb    k1, zmm0, zmm0
    kortestq    k1, k1
    jnz         .found
    add         dataq, 64
    sub         lenq, 64
    jae         .single
.tail:
    add         lenq, 64
    jz          .all
    mov         rax, -1
    bzhi        rax, rax, lenq
    kmovq       k2, rax
    vmovdqu8    zmm0{k2}{z}, [dataq]
    vptestmb    k1, zmm0, zmm0
    kortestq    k1, k1
    jz          .all
    sub         lenq, 64
.found:                                 ; lenq is 64 less than the bytes from dataq on
    kmovq       rax, k1
    tzcnt       rax, rax
    add         rax, r9
    sub         rax, lenq
    sub         rax, 64
    RETFN
.all:
    mov         rax, r9
    RETFN
ENDFN

FN data_run, avx512, data, len, block
    xor         eax, eax                ; start of the block
    mov         r9, lenq
    sub         r9, blockq              ; last start of a whole block
    jb          .none
.block:
    vmovdqu64   zmm0, [dataq + rax]
    vptestmd    k1, zmm0, zmm0
    kortestw    k1, k1
    jz          .deep
.next:
    add         rax, blockq
    cmp         rax, r9
    jbe         .block
.none:
    mov         rax, lenq
    RETFN
.deep:
    lea         r8, [dataq + rax]
    lea         r10, [r8 + blockq]
.rest:
    add         r8, 64
    cmp         r8, r10
    jae         .found
    vmovdqu64   zmm0, [r8]
    vptestmd    k1, zmm0, zmm0
    kortestw    k1, k1
    jz          .rest
    jmp         .next
.found:
    RETFN
ENDFN

;================================================================================================================== AVX2
FN zero_run, avx2, data, len
    mov         r9, lenq
    vpxor       xmm1, xmm1, xmm1
    sub         lenq, 128
    jb          .singles
.loop:
    vmovdqu     ymm0, [dataq]
    vmovdqu     ymm2, [dataq + 64]
    vpor        ymm0, ymm0, [dataq + 32]
    vpor        ymm2, ymm2, [dataq + 96]
    vpor        ymm0, ymm0, ymm2
    vptest      ymm0, ymm0
    jnz         .singles
    sub         dataq, -128
    sub         lenq, 128
    jae         .loop
.singles:
    sub         lenq, -128
    sub         lenq, 32
    jb          .tail
.single:
    vpcmpeqb    ymm0, ymm1, [dataq]
    vpmovmskb   eax, ymm0
    xor         eax, -1
    jnz         .found
    add         dataq, 32
    sub         lenq, 32
    jae         .single
.tail:
    add         lenq, 32
    jz          .all
    cmp         r9, 32
    jb          .bytes
    lea         dataq, [dataq + lenq - 32]  ; once more a part that is known to be zero
    xor         lend, lend
    vpcmpeqb    ymm0, ymm1, [dataq]
    vpmovmskb   eax, ymm0
    xor         eax, -1
    jz          .all
.found:                                     ; lenq is 32 less than the bytes from dataq on
    tzcnt       eax, eax
    add         rax, r9
    sub         rax, lenq
    sub         rax, 32
    RETFN
.bytes:
    cmp         byte [dataq], 0
    jne         .byte
    inc         dataq
    dec         lenq
    jnz         .bytes
.byte:
    mov         rax, r9
    sub         rax, lenq
    RETFN
.all:
    mov         rax, r9
    RETFN
ENDFN

FN data_run, avx2, data, len, block
    xor         eax, eax
    mov         r9, lenq
    sub         r9, blockq
    jb          .none
.block:
    vmovdqu     ymm0, [dataq + rax]
    vpor        ymm0, ymm0, [dataq + rax + 32]
    vptest      ymm0, ymm0
    jz          .deep
.next:
    add         rax, blockq
    cmp         rax, r9
    jbe         .block
.none:
    mov         rax, lenq
    RETFN
.deep:
    lea         r8, [dataq + rax]
    lea         r10, [r8 + blockq]
.rest:
    add         r8, 64
    cmp         r8, r10
    jae         .found
    vmovdqu     ymm0, [r8]
    vpor        ymm0, ymm0, [r8 + 32]
    vptest      ymm0, ymm0
    jz          .rest
    jmp         .next
.found:
    RETFN
ENDFN

;================================================================================================================ SSE4.2
FN zero_run, sse42, data, len
    mov         r9, lenq
    pxor        xmm1, xmm1
    sub         lenq, 64
    jb          .singles
.loop:
    movdqu      xmm0, [dataq]
    movdqu      xmm2, [dataq + 16]
    movdqu      xmm3, [dataq + 32]
    movdqu      xmm4, [dataq + 48]
    por         xmm0, xmm2
    por         xmm3, xmm4
    por         xmm0, xmm3
    ptest       xmm0, xmm0
    jnz         .singles
    add         dataq, 64
    sub         lenq, 64
    jae         .loop
.singles:
    add         lenq, 64
    sub         lenq, 16
    jb          .tail
.single:
    movdqu      xmm0, [dataq]
    pcmpeqb     xmm0, xmm1
    pmovmskb    eax, xmm0
    xor         eax, 0xffff
    jnz         .found
    add         dataq, 16
    sub         lenq, 16
    jae         .single
.tail:
    add         lenq, 16
    jz          .all
    cmp         r9, 16
    jb          .bytes
    lea         dataq, [dataq + lenq - 16]
    xor         lend, lend
    movdqu      xmm0, [dataq]
    pcmpeqb     xmm0, xmm1
    pmovmskb    eax, xmm0
    xor         eax, 0xffff
    jz          .all
.found:                                     ; lenq is 16 less than the bytes from dataq on
    bsf         eax, eax
    add         rax, r9
    sub         rax, lenq
    sub         rax, 16
    RETFN
.bytes:
    cmp         byte [dataq], 0
    jne         .byte
    inc         dataq
    dec         lenq
    jnz         .bytes
.byte:
    mov         rax, r9
    sub         rax, lenq
    RETFN
.all:
    mov         rax, r9
    RETFN
ENDFN

; ZF if the 64 bytes at %1 are zero
%macro ZERO64 1
    movdqu      xmm0, [%1]
    movdqu      xmm1, [%1 + 16]
    movdqu      xmm2, [%1 + 32]
    movdqu      xmm3, [%1 + 48]
    por         xmm0, xmm1
    por         xmm2, xmm3
    por         xmm0, xmm2
    ptest       xmm0, xmm0
%endmacro

FN data_run, sse42, data, len, block
    xor         eax, eax
    mov         r9, lenq
    sub         r9, blockq
    jb          .none
.block:
    ZERO64      dataq + rax
    jz          .deep
.next:
    add         rax, blockq
    cmp         rax, r9
    jbe         .block
.none:
    mov         rax, lenq
    RETFN
.deep:
    lea         r8, [dataq + rax]
    lea         r10, [r8 + blockq]
.rest:
    add         r8, 64
    cmp         r8, r10
    jae         .found
    ZERO64      r8
    jz          .rest
    jmp         .next
.found:
    RETFN
ENDFN
