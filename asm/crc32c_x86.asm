; SPDX-License-Identifier: MIT
;
; uint32_t fold_crc32c_<isa>(uint32_t crc, const void *data, size_t len)
;
; Folding as in crcfold.inc. The crc32 instruction computes just this polynomial, so it reduces the last 128 bits and
; takes what is left of less than 16 bytes.

%include "asm/crcfold.inc"

CRC_DATA crc32c

%macro CRC32C_FN 1
FN crc32c, %1, crc, data, len
    mov         eax, crcd
    not         eax
    cmp         lenq, 16
    jb          .rest
    CRC_BODY_%1 crc32c
    %ifidn %1, sse42
        movq    rcx, xmm0
        pextrq  r8, xmm0, 1
    %else
        vmovq   rcx, xmm0
        vpextrq r8, xmm0, 1
    %endif
    xor         eax, eax
    crc32       rax, rcx
    crc32       rax, r8
.rest:
    test        lend, 8
    jz          .four
    crc32       rax, qword [dataq]
    add         dataq, 8
.four:
    test        lend, 4
    jz          .two
    crc32       eax, dword [dataq]
    add         dataq, 4
.two:
    test        lend, 2
    jz          .one
    crc32       eax, word [dataq]
    add         dataq, 2
.one:
    test        lend, 1
    jz          .done
    crc32       eax, byte [dataq]
.done:
    not         eax
    RETFN
ENDFN
%endmacro

CRC32C_FN sse42
CRC32C_FN avx2
CRC32C_FN avx512
