; SPDX-License-Identifier: MIT
;
; size_t fold_cdc_scan_<isa>(const uint8_t *data, size_t from, size_t to, int32_t form)
;
; The doubling form of asm/cdc.h for a vector of positions at a time. The words that end at even offsets from a block's
; start and those that end at odd ones are two unaligned loads of the same bytes; the two streams are computed
; apart. A shift by 4, 8 or 16 positions is a shift of a stream by 4, 8 or 16 bytes, taken from the present vector and
; the one before. The results of a block are joined by a signed maximum and tested by one compare and one branch;
; only a hit makes the masks of both streams and interleaves them.
;
; The state carried from block to block is the last vector of each stage. It is made by running the vector before the
; first block without a test: its upper lanes come out right whatever stood in front. The last block of a range
; ends at `to` and may begin before the positions that are left; results in front of them are masked away.
;
; Sapphire Rapids, 2026-11, 1 MiB hot buffer: cycles per byte scanned in docs/asm/cdc.md.

%include "asm/fold.inc"

%define CDC_A 0x1313
%define CDC_B 0xa299
%define CDC_C 0x3b9f
%define CDC_D 0x94b3

section .rodata align=64
align 64
cdc_a:  times 16 dw CDC_A
cdc_b:  times 16 dw CDC_B
cdc_ab: times 16 dw (CDC_A * CDC_B) & 0xffff
cdc_c:  times 16 dw CDC_C
cdc_d:  times 16 dw CDC_D

section .text

; Registers of all versions. The arguments become pointers: dataq walks, fromq is the first position that counts.
;     rax base    rdi block    rsi from    rdx to    rcx last start of a whole block

%macro CDC_ENTER 0
    mov         rax, dataq
    add         fromq, dataq
    add         toq, dataq
    mov         dataq, fromq
%endmacro

; The frame common to all versions. %1 macro prefix, %2 block size; the prefix has _WARM, _BLOCK, _TEST (ZF if there is
; no candidate) and _PICK (offset of the first candidate that counts into rcx; CF if none does; rsi positions do not
; count, 0 in the loop).
%macro CDC_SCAN 2
    mov         rcx, toq
    sub         rcx, %2
    cmp         fromq, toq
    jae         .none
    cmp         dataq, rcx
    ja          .last
    %{1}_WARM
.loop:
    %{1}_BLOCK
    %{1}_TEST
    jnz         .hit
    add         dataq, %2
    cmp         dataq, rcx
    jbe         .loop
    cmp         dataq, toq
    jae         .none
.last:                              ; fewer positions than a block are left
    mov         fromq, dataq
    mov         dataq, rcx
    sub         fromq, rcx
    %{1}_WARM
    %{1}_BLOCK
    %{1}_TEST
    jz          .none
    jmp         .pick
.hit:
    xor         esi, esi
.pick:
    %{1}_PICK
    jc          .none
    sub         dataq, rax
    lea         rax, [dataq + rcx]
    RETFN
.none:
    sub         toq, rax
    mov         rax, toq
    RETFN
%endmacro

;=============================================================================================================== AVX-512
; zmm0-3   results: even and odd positions of the first 64 bytes, then of the second
; zmm4-6   temporaries
; zmm16/17 last f, even and odd    zmm18/19 last g    zmm20/21 last h    zmm10-15 the same between the two halves
; zmm24-27 A B C D                 zmm28 threshold

; 32 positions. %1 result, %2 address of the first word, %3 %4 %5 last f g h (in), %6 %7 %8 (out)
%macro CDC512_HALF 8
    vpmullw     %6, zmm24, [%2 - 2]
    vpaddw      %6, %6, [%2]
    valignd     zmm4, %6, %3, 15
    vpmullw     zmm4, zmm4, zmm25
    vpaddw      %7, zmm4, %6
    valignd     zmm5, %7, %4, 14
    vpmullw     zmm5, zmm5, zmm26
    vpaddw      %8, zmm5, %7
    valignd     zmm6, %8, %5, 12
    vpmullw     zmm6, zmm6, zmm27
    vpaddw      %1, zmm6, %8
%endmacro

; Out registers differ from in registers, so the state of the vector before goes through zmm10-15.
%macro CDC512_WARM 0
    CDC512_HALF zmm0, dataq - 66, zmm16, zmm18, zmm20, zmm10, zmm11, zmm12
    CDC512_HALF zmm1, dataq - 65, zmm17, zmm19, zmm21, zmm13, zmm14, zmm15
    vmovdqa64   zmm16, zmm10
    vmovdqa64   zmm18, zmm11
    vmovdqa64   zmm20, zmm12
    vmovdqa64   zmm17, zmm13
    vmovdqa64   zmm19, zmm14
    vmovdqa64   zmm21, zmm15
%endmacro

%macro CDC512_BLOCK 0
    CDC512_HALF zmm0, dataq - 2, zmm16, zmm18, zmm20, zmm10, zmm11, zmm12
    CDC512_HALF zmm1, dataq - 1, zmm17, zmm19, zmm21, zmm13, zmm14, zmm15
    CDC512_HALF zmm2, dataq + 62, zmm10, zmm11, zmm12, zmm16, zmm18, zmm20
    CDC512_HALF zmm3, dataq + 63, zmm13, zmm14, zmm15, zmm17, zmm19, zmm21
%endmacro

%macro CDC512_TEST 0
    vpmaxsw     zmm4, zmm0, zmm1
    vpmaxsw     zmm5, zmm2, zmm3
    vpmaxsw     zmm4, zmm4, zmm5
    vpcmpgtw    k1, zmm4, zmm28
    kortestd    k1, k1
%endmacro

; %1 mask of 64 positions from the results %2 (even) and %3 (odd); r8 r9 even and odd bits; clobbers r10
%macro CDC512_MASK 3
    vpcmpgtw    k1, %2, zmm28
    vpcmpgtw    k2, %3, zmm28
    kmovd       %{1}d, k1
    kmovd       r10d, k2
    pdep        %1, %1, r8
    pdep        r10, r10, r9
    or          %1, r10
%endmacro

%macro CDC512_PICK 0
    mov         r8, 0x5555555555555555
    lea         r9, [r8 + r8]
    CDC512_MASK r11, zmm2, zmm3     ; first the upper 64 positions
    cmp         esi, 64
    jae         %%upper
    mov         rcx, r11
    CDC512_MASK r11, zmm0, zmm1
    shrx        r11, r11, rsi
    shlx        r11, r11, rsi
    tzcnt       r11, r11
    jc          %%second
    mov         rcx, r11
    jmp         %%done
%%second:
    xor         esi, esi
    mov         r11, rcx
%%upper:
    shrx        r11, r11, rsi       ; the count is taken modulo 64
    shlx        r11, r11, rsi
    tzcnt       rcx, r11
    lea         rcx, [rcx + 64]     ; keeps CF
%%done:
%endmacro

FN cdc_scan, avx512, data, from, to, form
    vpbroadcastw zmm28, formd
    mov         r8d, CDC_A
    vpbroadcastw zmm24, r8d
    mov         r8d, CDC_B
    vpbroadcastw zmm25, r8d
    mov         r8d, CDC_C
    vpbroadcastw zmm26, r8d
    mov         r8d, CDC_D
    vpbroadcastw zmm27, r8d
    CDC_ENTER
    CDC_SCAN CDC512, 128
ENDFN

;================================================================================================================== AVX2
; ymm0-3   results: even and odd positions of the first 32 bytes, then of the second
; ymm4/5   last g, even and odd    ymm6/7 last h    ymm8-10 temporaries
; ymm11-15 A B AB C D              [rsp-32] threshold

; 16 positions. %1 result, %2 address of the first word, %3 %4 last g h
%macro CDC256_HALF 4
    vpmullw     ymm8, ymm11, [%2 - 2]
    vpmullw     ymm9, ymm12, [%2 - 4]
    vpmullw     ymm10, ymm13, [%2 - 6]
    vpaddw      ymm8, ymm8, [%2]
    vpaddw      ymm9, ymm9, ymm10
    vpaddw      ymm8, ymm8, ymm9            ; g
    vperm2i128  ymm9, %3, ymm8, 0x21
    vmovdqa     %3, ymm8
    vpalignr    ymm9, ymm8, ymm9, 8
    vpmullw     ymm9, ymm9, ymm14
    vpaddw      ymm9, ymm9, ymm8            ; h
    vperm2i128  ymm10, %4, ymm9, 0x21
    vmovdqa     %4, ymm9
    vpmullw     ymm10, ymm10, ymm15
    vpaddw      %1, ymm10, ymm9
%endmacro

%macro CDC256_WARM 0
    CDC256_HALF ymm0, dataq - 34, ymm4, ymm6
    CDC256_HALF ymm1, dataq - 33, ymm5, ymm7
%endmacro

%macro CDC256_BLOCK 0
    CDC256_HALF ymm0, dataq - 2, ymm4, ymm6
    CDC256_HALF ymm1, dataq - 1, ymm5, ymm7
    CDC256_HALF ymm2, dataq + 30, ymm4, ymm6
    CDC256_HALF ymm3, dataq + 31, ymm5, ymm7
%endmacro

%macro CDC256_TEST 0
    vpmaxsw     ymm8, ymm0, ymm1
    vpmaxsw     ymm9, ymm2, ymm3
    vpmaxsw     ymm8, ymm8, ymm9
    vpcmpgtw    ymm8, ymm8, [rsp - 32]
    vptest      ymm8, ymm8
%endmacro

%macro CDC256_PICK 0
    vmovdqu     ymm8, [rsp - 32]
    vpcmpgtw    ymm0, ymm0, ymm8
    vpcmpgtw    ymm1, ymm1, ymm8
    vpcmpgtw    ymm2, ymm2, ymm8
    vpcmpgtw    ymm3, ymm3, ymm8
    vpmovmskb   r8d, ymm0           ; two bits a word: the even one stands for an even position
    vpmovmskb   r9d, ymm1
    vpmovmskb   r10d, ymm2
    vpmovmskb   r11d, ymm3
    and         r8d, 0x55555555
    and         r9d, 0xaaaaaaaa
    and         r10d, 0x55555555
    and         r11d, 0xaaaaaaaa
    or          r8d, r9d
    or          r10d, r11d
    shl         r10, 32
    or          r8, r10
    shrx        r8, r8, rsi
    shlx        r8, r8, rsi
    tzcnt       rcx, r8
%endmacro

FN cdc_scan, avx2, data, from, to, form
    vmovd       xmm0, formd
    vpbroadcastw ymm0, xmm0
    vmovdqu     [rsp - 32], ymm0
    vmovdqa     ymm11, [cdc_a]
    vmovdqa     ymm12, [cdc_b]
    vmovdqa     ymm13, [cdc_ab]
    vmovdqa     ymm14, [cdc_c]
    vmovdqa     ymm15, [cdc_d]
    CDC_ENTER
    CDC_SCAN CDC256, 64
ENDFN

;================================================================================================================ SSE4.2
; xmm0-3   results: even and odd positions of the first 16 bytes, then of the second
; xmm4/5   last g, even and odd    xmm6/7 last h    xmm8-9 temporaries
; xmm10-14 A B AB C D              xmm15 threshold

; 8 positions. %1 result, %2 address of the first word, %3 %4 last g h
%macro CDC128_HALF 4
    movdqu      xmm8, [%2 - 6]
    movdqu      xmm9, [%2 - 4]
    pmullw      xmm8, xmm12
    pmullw      xmm9, xmm11
    paddw       xmm8, xmm9
    movdqu      xmm9, [%2 - 2]
    pmullw      xmm9, xmm10
    paddw       xmm8, xmm9
    movdqu      xmm9, [%2]
    paddw       xmm8, xmm9                  ; g
    movdqa      xmm9, xmm8
    palignr     xmm9, %3, 8
    movdqa      %3, xmm8
    pmullw      xmm9, xmm13
    paddw       xmm9, xmm8                  ; h
    movdqa      %1, %4
    movdqa      %4, xmm9
    pmullw      %1, xmm14
    paddw       %1, xmm9
%endmacro

%macro CDC128_WARM 0
    CDC128_HALF xmm0, dataq - 34, xmm4, xmm6
    CDC128_HALF xmm1, dataq - 33, xmm5, xmm7
    CDC128_HALF xmm0, dataq - 18, xmm4, xmm6
    CDC128_HALF xmm1, dataq - 17, xmm5, xmm7
%endmacro

%macro CDC128_BLOCK 0
    CDC128_HALF xmm0, dataq - 2, xmm4, xmm6
    CDC128_HALF xmm1, dataq - 1, xmm5, xmm7
    CDC128_HALF xmm2, dataq + 14, xmm4, xmm6
    CDC128_HALF xmm3, dataq + 15, xmm5, xmm7
%endmacro

%macro CDC128_TEST 0
    movdqa      xmm8, xmm0
    movdqa      xmm9, xmm2
    pmaxsw      xmm8, xmm1
    pmaxsw      xmm9, xmm3
    pmaxsw      xmm8, xmm9
    pcmpgtw     xmm8, xmm15
    pmovmskb    r8d, xmm8
    test        r8d, r8d
%endmacro

%macro CDC128_PICK 0
    pcmpgtw     xmm0, xmm15
    pcmpgtw     xmm1, xmm15
    pcmpgtw     xmm2, xmm15
    pcmpgtw     xmm3, xmm15
    pmovmskb    r8d, xmm0           ; two bits a word: the even one stands for an even position
    pmovmskb    r9d, xmm1
    pmovmskb    r10d, xmm2
    pmovmskb    r11d, xmm3
    and         r8d, 0x5555
    and         r9d, 0xaaaa
    and         r10d, 0x5555
    and         r11d, 0xaaaa
    or          r8d, r9d
    or          r10d, r11d
    shl         r10d, 16
    or          r8d, r10d
    mov         ecx, esi
    shr         r8d, cl
    shl         r8d, cl
    bsf         ecx, r8d            ; ZF if nothing is left
    setz        r9b
    add         r9b, 255            ; CF if nothing is left
%endmacro

FN cdc_scan, sse42, data, from, to, form
    movd        xmm15, formd
    pshuflw     xmm15, xmm15, 0
    punpcklqdq  xmm15, xmm15
    movdqa      xmm10, [cdc_a]
    movdqa      xmm11, [cdc_b]
    movdqa      xmm12, [cdc_ab]
    movdqa      xmm13, [cdc_c]
    movdqa      xmm14, [cdc_d]
    CDC_ENTER
    CDC_SCAN CDC128, 32
ENDFN
