; SPDX-License-Identifier: MIT
;
; uint32_t fold_crc32_<isa>(uint32_t crc, const void *data, size_t len)
;
; Folding as in crcfold.inc; the end is reduced by multiplication, for the crc32 instruction knows only CRC-32C. Fewer
; than 16 bytes are left to plain C.

%include "asm/crcfold.inc"

extern fold_crc32_c

CRC_DATA crc32

%macro CRC32_FN 1
FN crc32, %1, crc, data, len
    cmp         lenq, 16
    jb          fold_crc32_c                    ; same arguments, and nothing is dirty yet
    mov         eax, crcd
    not         eax
    CRC_BODY_%1 crc32
    test        lenq, lenq
    jz          .reduce
    CRC_REST
.reduce:
    CRC_REDUCE  crc32
    not         eax
    RETFN
ENDFN
%endmacro

CRC32_FN sse42
CRC32_FN avx2
CRC32_FN avx512
