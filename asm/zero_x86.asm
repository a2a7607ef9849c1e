; SPDX-License-Identifier: MIT
;
; size_t fold_zero_run_<isa>(const void *data, size_t len)
; size_t fold_data_run_<isa>(const void *data, size_t len, size_t block)
;
; zero_run joins four vectors by OR and tests them with one branch; when that finds something, or fewer are left, single
; vectors follow and the byte is located. data_run looks at the first 64 bytes of a block, which settles nearly every
; block that is not zero, before it runs over the rest.
;
; Registers of zero_run: rdi walks, rsi bytes left, r9 length at entry.

%include "asm/walk.inc"

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
    WALK_FOUND  64
.all:
    WALK_ALL
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
    WALK_FOUND  32
.bytes:
    cmp         byte [dataq], 0
    jne         .byte
    inc         dataq
    dec         lenq
    jnz         .bytes
.byte:
    WALK_HERE
.all:
    WALK_ALL
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
    WALK_FOUND  16
.bytes:
    cmp         byte [dataq], 0
    jne         .byte
    inc         dataq
    dec         lenq
    jnz         .bytes
.byte:
    WALK_HERE
.all:
    WALK_ALL
ENDFN

;============================================================================================================= data_run
; ZF if the 64 bytes at %1 are zero
%macro ZERO64_avx512 1
    vmovdqu64   zmm0, [%1]
    vptestmd    k1, zmm0, zmm0
    kortestw    k1, k1
%endmacro

%macro ZERO64_avx2 1
    vmovdqu     ymm0, [%1]
    vpor        ymm0, ymm0, [%1 + 32]
    vptest      ymm0, ymm0
%endmacro

%macro ZERO64_sse42 1
    movdqu      xmm0, [%1]
    movdqu      xmm1, [%1 + 16]
    movdqu      xmm2, [%1 + 32]
    movdqu      xmm3, [%1 + 48]
    por         xmm0, xmm1
    por         xmm2, xmm3
    por         xmm0, xmm2
    ptest       xmm0, xmm0
%endmacro

; rdi data, rsi length, rdx block; rax start of the present block, r9 last start of a whole one, r8 and r10 the part of
; a block that is looked at in full. %1 instruction set
%macro DATA_RUN 1
FN data_run, %1, data, len, block
    xor         eax, eax
    mov         r9, lenq
    sub         r9, blockq
    jb          .none
.block:
    ZERO64_%1   dataq + rax
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
    ZERO64_%1   r8
    jz          .rest
    jmp         .next
.found:
    RETFN
ENDFN
%endmacro

DATA_RUN sse42
DATA_RUN avx2
DATA_RUN avx512
