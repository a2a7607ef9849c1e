; SPDX-License-Identifier: MIT
;
; size_t fold_compare_<isa>(const void *a, const void *b, size_t len)
;
; The differences of four (SSE4.2: eight) pairs of vectors are joined by OR and tested with one branch; when that finds one, or fewer are
; left, single vectors follow and the byte is located.
;
; Registers: rdi a, rsi b, both walk; rdx bytes left, r9 length at entry.

%include "asm/walk.inc"

FN compare, avx512, a, b, len
    mov         r9, lenq
    sub         lenq, 256
    jb          .singles
.loop:
    vmovdqu64   zmm0, [aq]
    vmovdqu64   zmm1, [aq + 64]
    vmovdqu64   zmm2, [aq + 128]
    vmovdqu64   zmm3, [aq + 192]
    vpxorq      zmm0, zmm0, [bq]
    vpternlogq  zmm0, zmm1, [bq + 64], 0xf6     ; zmm0 | (zmm1 ^ b)
    vpxorq      zmm2, zmm2, [bq + 128]
    vpternlogq  zmm2, zmm3, [bq + 192], 0xf6
    vporq       zmm0, zmm0, zmm2
    vptestmd    k1, zmm0, zmm0
    kortestw    k1, k1
    jnz         .singles
    add         aq, 256
    add         bq, 256
    sub         lenq, 256
    jae         .loop
.singles:
    add         lenq, 256
    sub         lenq, 64
    jb          .tail
.single:
    vmovdqu64   zmm0, [aq]
    vpcmpneqb   k1, zmm0, [bq]
    kortestq    k1, k1
    jnz         .found
    add         aq, 64
    add         bq, 64
    sub         lenq, 64
    jae         .single
.tail:
    add         lenq, 64
    jz          .equal
    mov         rax, -1
    bzhi        rax, rax, lenq
    kmovq       k2, rax
    vmovdqu8    zmm0{k2}{z}, [aq]
    vmovdqu8    zmm1{k2}{z}, [bq]
    vpcmpneqb   k1, zmm0, zmm1
    kortestq    k1, k1
    jz          .equal
    sub         lenq, 64
.found:                                         ; lenq is 64 less than the bytes from aq on
    kmovq       rax, k1
    tzcnt       rax, rax
    WALK_FOUND  64
.equal:
    WALK_ALL
ENDFN

FN compare, avx2, a, b, len
    mov         r9, lenq
    sub         lenq, 128
    jb          .singles
.loop:
    vmovdqu     ymm0, [aq]
    vmovdqu     ymm1, [aq + 32]
    vmovdqu     ymm2, [aq + 64]
    vmovdqu     ymm3, [aq + 96]
    vpxor       ymm0, ymm0, [bq]
    vpxor       ymm1, ymm1, [bq + 32]
    vpxor       ymm2, ymm2, [bq + 64]
    vpxor       ymm3, ymm3, [bq + 96]
    vpor        ymm0, ymm0, ymm1
    vpor        ymm2, ymm2, ymm3
    vpor        ymm0, ymm0, ymm2
    vptest      ymm0, ymm0
    jnz         .singles
    sub         aq, -128
    sub         bq, -128
    sub         lenq, 128
    jae         .loop
.singles:
    sub         lenq, -128
    sub         lenq, 32
    jb          .tail
.single:
    vmovdqu     ymm0, [aq]
    vpcmpeqb    ymm0, ymm0, [bq]
    vpmovmskb   eax, ymm0
    xor         eax, -1
    jnz         .found
    add         aq, 32
    add         bq, 32
    sub         lenq, 32
    jae         .single
.tail:
    add         lenq, 32
    jz          .equal
    cmp         r9, 32
    jb          .bytes
    lea         aq, [aq + lenq - 32]            ; once more a part that is known to be equal
    lea         bq, [bq + lenq - 32]
    xor         lend, lend
    vmovdqu     ymm0, [aq]
    vpcmpeqb    ymm0, ymm0, [bq]
    vpmovmskb   eax, ymm0
    xor         eax, -1
    jz          .equal
.found:                                         ; lenq is 32 less than the bytes from aq on
    tzcnt       eax, eax
    WALK_FOUND  32
.bytes:
    mov         al, [aq]
    cmp         al, [bq]
    jne         .byte
    inc         aq
    inc         bq
    dec         lenq
    jnz         .bytes
.byte:
    WALK_HERE
.equal:
    WALK_ALL
ENDFN

; %1 ^ the 16 bytes at %3, in %1; clobbers %2
%macro XOR128 3
    movdqu      %2, %3
    pxor        %1, %2
%endmacro

FN compare, sse42, a, b, len
    mov         r9, lenq
    sub         lenq, 128
    jb          .singles
.loop:
    movdqu      xmm0, [aq]
    movdqu      xmm1, [aq + 16]
    movdqu      xmm2, [aq + 32]
    movdqu      xmm3, [aq + 48]
    XOR128      xmm0, xmm4, [bq]
    XOR128      xmm1, xmm5, [bq + 16]
    XOR128      xmm2, xmm6, [bq + 32]
    XOR128      xmm3, xmm7, [bq + 48]
    movdqu      xmm4, [aq + 64]
    movdqu      xmm5, [aq + 80]
    movdqu      xmm6, [aq + 96]
    movdqu      xmm7, [aq + 112]
    XOR128      xmm4, xmm8, [bq + 64]
    XOR128      xmm5, xmm9, [bq + 80]
    XOR128      xmm6, xmm10, [bq + 96]
    XOR128      xmm7, xmm11, [bq + 112]
    por         xmm0, xmm1
    por         xmm2, xmm3
    por         xmm4, xmm5
    por         xmm6, xmm7
    por         xmm0, xmm2
    por         xmm4, xmm6
    por         xmm0, xmm4
    ptest       xmm0, xmm0
    jnz         .singles
    sub         aq, -128
    sub         bq, -128
    sub         lenq, 128
    jae         .loop
.singles:
    sub         lenq, -128
    sub         lenq, 16
    jb          .tail
.single:
    movdqu      xmm0, [aq]
    movdqu      xmm1, [bq]
    pcmpeqb     xmm0, xmm1
    pmovmskb    eax, xmm0
    xor         eax, 0xffff
    jnz         .found
    add         aq, 16
    add         bq, 16
    sub         lenq, 16
    jae         .single
.tail:
    add         lenq, 16
    jz          .equal
    cmp         r9, 16
    jb          .bytes
    lea         aq, [aq + lenq - 16]
    lea         bq, [bq + lenq - 16]
    xor         lend, lend
    movdqu      xmm0, [aq]
    movdqu      xmm1, [bq]
    pcmpeqb     xmm0, xmm1
    pmovmskb    eax, xmm0
    xor         eax, 0xffff
    jz          .equal
.found:                                         ; lenq is 16 less than the bytes from aq on
    bsf         eax, eax
    WALK_FOUND  16
.bytes:
    mov         al, [aq]
    cmp         al, [bq]
    jne         .byte
    inc         aq
    inc         bq
    dec         lenq
    jnz         .bytes
.byte:
    WALK_HERE
.equal:
    WALK_ALL
ENDFN
