; SPDX-License-Identifier: MIT
;
; void fold_probe_<isa>(const struct fold_probe_table *table, const uint64_t *keys, size_t n, uint64_t *maybe)
;
; The law is that of asm/probe.h. Keys go through in blocks of 32, and three blocks are under way at once: LOCATE finds the
; home lines of the next block (a vector of keys at a time; directory and frames by gathers) and fetches them, MATCH
; compares the present block and fetches the other lines of the few keys that need them, and SECOND compares those of
; the block before. A line is compared with one key's code in all slots at once; the slots of the key's group are cut
; out of the mask by its bounds in the header. No branch depends on the data but the one per block that looks whether any
; key needs its other line. A key is also looked for with its low bits cleared, `ages` times: in the complement that
; is stored these are bits set.
;
; Keys of a block are matched from the last to the first, so that found bits enter a register through the carry flag.
;
; Rates on Sapphire Rapids: docs/asm/probe.md.

%include "asm/fold.inc"

struc table
    .dir:       resq 1
    .frames:    resq 1
    .roots:     resd 1
    .dir_bits:  resd 1
    .ages:      resd 1
    .zero:      resd 1
endstruc

%define BLOCK 32

; What LOCATE leaves for each key of a block.
struc spot
    .line:  resq BLOCK          ; address of the home line
    .dir:   resq BLOCK          ; directory word
    .home:  resq BLOCK          ; number of the home line
    .code:  resq BLOCK          ; contents of the slot
    .shift: resq BLOCK          ; 5 * group
    .off:   resq BLOCK
    .size:
endstruc

; What MATCH leaves for each key that needs its other line.
struc other
    .line:  resq BLOCK
    .code:  resq BLOCK
    .shift: resq BLOCK
    .index: resq BLOCK          ; which key
    .size:
endstruc

%define AWAY     127
%define LAST_END (30 << 30)     ; where the last group ends, as a bound behind the five in the header

struc frame
    .spots:  resb 2 * spot.size
    .others: resb 2 * other.size
    .pending: resq 1            ; entries in the list that SECOND works on
    .table:  resq 1
    .keys:   resq 1
    .n:      resq 1
    .maybe:  resq 1
    .now:    resq 1             ; keys in the present block
    .next:   resq 1             ; keys in the block after it
    .done:   resq 1             ; keys before it
    .turn:   resq 1             ; which half of `spots` and `others` is the present block's: 0 or 1
    .stack:  resq 1             ; rsp on entry
    .size:
endstruc

section .rodata align=64
align 64
probe_ages:                     ; vector number a has the a low bits of each word set
%assign a 0
%rep 11
    times 32 dw (1 << a) - 1
%assign a a + 1
%endrep
probe_iota: dq 0, 1, 2, 3

section .text

; Compares the line at [r9] with the code at [%1], all slots and all ages. AVX-512: one bit per slot in eax; AVX2: two in
; rax. Clobbers rdx.
%macro COMPARE_avx512 1
    vpbroadcastw zmm0, [%1]
    vmovdqa64   zmm1, [r9]
    vpcmpeqw    k1, zmm1, zmm0
    mov         edx, r15d
    test        edx, edx
    jz          %%done
    shl         edx, 6
%%age:
    vporq       zmm2, zmm0, [rbp + rdx]
    vpcmpeqw    k2, zmm1, zmm2
    kord        k1, k1, k2
    sub         edx, 64
    jnz         %%age
%%done:
    kmovd       eax, k1
%endmacro

%macro COMPARE_avx2 1
    vpbroadcastw ymm0, [%1]
    vmovdqa     ymm1, [r9]
    vmovdqa     ymm2, [r9 + 32]
    vpcmpeqw    ymm3, ymm1, ymm0
    vpcmpeqw    ymm4, ymm2, ymm0
    mov         edx, r15d
    test        edx, edx
    jz          %%done
    shl         edx, 6
%%age:
    vpor        ymm5, ymm0, [rbp + rdx]
    vpcmpeqw    ymm6, ymm1, ymm5
    vpcmpeqw    ymm7, ymm2, ymm5
    vpor        ymm3, ymm3, ymm6
    vpor        ymm4, ymm4, ymm7
    sub         edx, 64
    jnz         %%age
%%done:
    vpmovmskb   eax, ymm3
    vpmovmskb   edx, ymm4
    shl         rdx, 32
    or          rax, rdx
%endmacro

; Cuts the slots of a group out of the mask in rax: r10d header, rcx 5 * group. Clobbers rdx, r9.
%macro BOUNDS_avx512 0
    mov         edx, r10d
    and         edx, 0x1ffffff
    shl         rdx, 5
    or          rdx, r12
    shrx        rdx, rdx, rcx           ; first slot in bits 0-4, end in bits 5-9
    mov         r9d, edx
    shr         r9d, 5
    and         r9d, 31
    bzhi        eax, eax, r9d
    shrx        eax, eax, edx
%endmacro

%macro BOUNDS_avx2 0
    mov         edx, r10d
    and         edx, 0x1ffffff
    shl         rdx, 5
    or          rdx, r12
    shrx        rdx, rdx, rcx
    mov         r9d, edx
    shr         r9d, 4
    and         r9d, 62
    bzhi        rax, rax, r9
    add         edx, edx
    shrx        rax, rax, rdx
%endmacro

; The constants of LOCATE; %1 is ymm or zmm. Clobbers rax.
%macro BROADCAST 3                      ; ymm or zmm, register number, value
    mov         eax, %3
    vmovd       xmm%2, eax
    vpbroadcastq %1%2, xmm%2
%endmacro

%macro CONSTANTS 1
    BROADCAST   %1, 8, [rdi + table.roots]
    mov         eax, [rdi + table.dir_bits]
    vmovd       xmm9, eax
    neg         eax
    add         eax, 40
    vmovd       xmm10, eax
    BROADCAST   %1, 11, 0xff
    BROADCAST   %1, 12, 0x3fffffff
    BROADCAST   %1, 13, 0xfffff
    BROADCAST   %1, 14, 0xffff
    BROADCAST   %1, 15, 34
%ifidn %1, zmm
    BROADCAST   zmm, 7, 0x8000
%endif
%endmacro

; The spots at rdi of a vector of keys, number rcx and following, in m0. r8 dir, r10 frames. Clobbers m0 - m6.
%macro HOMES_avx512 0
    vpsllq      zmm1, zmm0, 40
    vpsrlq      zmm1, zmm1, 40
    vpmuludq    zmm1, zmm1, zmm8
    vpsrlq      zmm1, zmm1, 24          ; root
    vpsllq      zmm1, zmm1, xmm9
    vpsrlq      zmm2, zmm0, 24
    vpsrlq      zmm2, zmm2, xmm10
    vporq       zmm1, zmm1, zmm2
    kxnorw      k1, k1, k1
    vpgatherqq  zmm2{k1}, [r8 + zmm1 * 8]
    vmovdqa64   [rdi + rcx * 8 + spot.dir], zmm2
    vpandq      zmm3, zmm2, zmm14       ; lines
    vpsrlq      zmm4, zmm2, 16
    vpandq      zmm4, zmm4, zmm11       ; depth
    vpsubq      zmm4, zmm15, zmm4
    vpsrlvq     zmm0, zmm0, zmm4
    vpandq      zmm0, zmm0, zmm12       ; position
    vpsrlq      zmm4, zmm0, 10
    vpmuludq    zmm3, zmm3, zmm4
    vpsrlq      zmm4, zmm3, 20          ; home
    vmovdqa64   [rdi + rcx * 8 + spot.home], zmm4
    vpandq      zmm3, zmm3, zmm13
    vpsllq      zmm5, zmm3, 1
    vpaddq      zmm3, zmm3, zmm5
    vpsrlq      zmm3, zmm3, 14          ; off = z * 3 * 64 / 2^20
    vmovdqa64   [rdi + rcx * 8 + spot.off], zmm3
    vpsrlq      zmm5, zmm3, 5
    vpsllq      zmm6, zmm5, 2
    vpaddq      zmm5, zmm5, zmm6
    vmovdqa64   [rdi + rcx * 8 + spot.shift], zmm5
    vpsllq      zmm0, zmm0, 54
    vpsrlq      zmm0, zmm0, 54          ; low
    vpsllq      zmm3, zmm3, 10
    vporq       zmm0, zmm0, zmm3
    vpternlogq  zmm0, zmm0, zmm0, 0x55  ; complement
    vporq       zmm0, zmm0, zmm7        ; at home
    vmovdqa64   [rdi + rcx * 8 + spot.code], zmm0
    vpsrlq      zmm2, zmm2, 24
    vpsrlq      zmm5, zmm4, 8
    vpaddq      zmm2, zmm2, zmm5
    kxnorw      k1, k1, k1
    vpgatherqq  zmm3{k1}, [r10 + zmm2 * 8]
    vpandq      zmm4, zmm4, zmm11
    vpsllq      zmm4, zmm4, 6
    vpaddq      zmm3, zmm3, zmm4
    vmovdqa64   [rdi + rcx * 8 + spot.line], zmm3
%endmacro

%macro HOMES_avx2 0
    vpsllq      ymm1, ymm0, 40
    vpsrlq      ymm1, ymm1, 40
    vpmuludq    ymm1, ymm1, ymm8
    vpsrlq      ymm1, ymm1, 24
    vpsllq      ymm1, ymm1, xmm9
    vpsrlq      ymm2, ymm0, 24
    vpsrlq      ymm2, ymm2, xmm10
    vpor        ymm1, ymm1, ymm2
    vpcmpeqd    ymm3, ymm3, ymm3
    vpgatherqq  ymm2, [r8 + ymm1 * 8], ymm3
    vmovdqa     [rdi + rcx * 8 + spot.dir], ymm2
    vpand       ymm3, ymm2, ymm14
    vpsrlq      ymm4, ymm2, 16
    vpand       ymm4, ymm4, ymm11
    vpsubq      ymm4, ymm15, ymm4
    vpsrlvq     ymm0, ymm0, ymm4
    vpand       ymm0, ymm0, ymm12
    vpsrlq      ymm4, ymm0, 10
    vpmuludq    ymm3, ymm3, ymm4
    vpsrlq      ymm4, ymm3, 20
    vmovdqa     [rdi + rcx * 8 + spot.home], ymm4
    vpand       ymm3, ymm3, ymm13
    vpsllq      ymm5, ymm3, 1
    vpaddq      ymm3, ymm3, ymm5
    vpsrlq      ymm3, ymm3, 14
    vmovdqa     [rdi + rcx * 8 + spot.off], ymm3
    vpsrlq      ymm5, ymm3, 5
    vpsllq      ymm6, ymm5, 2
    vpaddq      ymm5, ymm5, ymm6
    vmovdqa     [rdi + rcx * 8 + spot.shift], ymm5
    vpsllq      ymm0, ymm0, 54
    vpsrlq      ymm0, ymm0, 54
    vpsllq      ymm3, ymm3, 10
    vpor        ymm0, ymm0, ymm3
    vpcmpeqd    ymm3, ymm3, ymm3
    vpxor       ymm0, ymm0, ymm3
    vpsrlq      ymm6, ymm3, 63
    vpsllq      ymm6, ymm6, 15
    vpor        ymm0, ymm0, ymm6
    vmovdqa     [rdi + rcx * 8 + spot.code], ymm0
    vpsrlq      ymm2, ymm2, 24
    vpsrlq      ymm5, ymm4, 8
    vpaddq      ymm2, ymm2, ymm5
    vpgatherqq  ymm5, [r10 + ymm2 * 8], ymm3
    vpand       ymm4, ymm4, ymm11
    vpsllq      ymm4, ymm4, 6
    vpaddq      ymm5, ymm5, ymm4
    vmovdqa     [rdi + rcx * 8 + spot.line], ymm5
%endmacro

; Loads the keys from number rcx of the rax keys at rsi into m0; missing ones become 0, which is as good a key as any.
%macro LOAD_avx512 0
    mov         edx, eax
    sub         edx, ecx
    mov         r9d, -1
    bzhi        r9d, r9d, edx
    kmovw       k1, r9d
    vmovdqu64   zmm0{k1}{z}, [rsi + rcx * 8]
%endmacro

%macro LOAD_avx2 0
    mov         edx, eax
    sub         edx, ecx
    vmovd       xmm1, edx
    vpbroadcastq ymm1, xmm1
    vpcmpgtq    ymm1, ymm1, [probe_iota]
    vpmaskmovq  ymm0, ymm1, [rsi + rcx * 8]
%endmacro

; Locates rax keys (0 .. BLOCK) at rsi into the spots at rdi. %1 instruction set, %2 keys in a vector.
%macro LOCATE 2
    mov         r11, [rsp + frame.table]
    mov         r8, [r11 + table.dir]
    mov         r10, [r11 + table.frames]
    xor         ecx, ecx
    jmp         %%test
%%vector:
    LOAD_%1
    HOMES_%1
%assign i 0
%rep %2
    mov         rdx, [rdi + rcx * 8 + spot.line + i * 8]
    prefetcht0  [rdx]
%assign i i + 1
%endrep
    add         ecx, %2
%%test:
    cmp         ecx, eax
    jb          %%vector
%endmacro

; Compares the keys of a block, [rbx] and following. Leaves found keys in r13d and in r14d those that cannot be elsewhere.
%macro MATCH 1
    mov         rsi, [rsp + frame.now]
    xor         r13d, r13d
    xor         r14d, r14d
    dec         rsi
%%key:
    mov         r9, [rbx + rsi * 8 + spot.line]
    COMPARE_%1  rbx + rsi * 8 + spot.code
    mov         r10d, [r9 + 60]
    mov         rcx, [rbx + rsi * 8 + spot.shift]
    BOUNDS_%1
    add         rax, -1                 ; carry if any slot is left
    adc         r13d, r13d
    mov         edx, [rbx + rsi * 8 + spot.off]
    shr         r10d, 25
    shr         edx, 1
    add         r10d, edx
    cmp         r10d, AWAY
    adc         r14d, r14d
    dec         rsi
    jns         %%key
%endmacro

; Lists the keys in r13d for SECOND, with their other lines, at [rdi]. Leaves their number in r11.
%macro LIST 0
    xor         r11d, r11d
    test        r13d, r13d
    jz          %%done
    mov         r8, [rsp + frame.table]
    mov         r8, [r8 + table.frames]
%%key:
    tzcnt       esi, r13d
    blsr        r13d, r13d
    mov         r9, [rbx + rsi * 8 + spot.dir]
    movzx       edx, r9w
    imul        eax, [rbx + rsi * 8 + spot.off], 40503
    movzx       eax, ax
    lea         ecx, [rdx - 1]
    imul        eax, ecx
    shr         eax, 16
    add         eax, [rbx + rsi * 8 + spot.home]
    inc         eax
    mov         ecx, eax
    sub         ecx, edx
    cmovnc      eax, ecx
    shr         r9, 24
    mov         ecx, eax
    shr         ecx, 8
    add         r9, rcx
    movzx       eax, al
    shl         eax, 6
    add         rax, [r8 + r9 * 8]
    prefetcht0  [rax]
    mov         [rdi + r11 * 8 + other.line], rax
    mov         eax, [rbx + rsi * 8 + spot.code]
    and         eax, 0x7fff
    mov         [rdi + r11 * 8 + other.code], rax
    mov         rax, [rbx + rsi * 8 + spot.shift]
    mov         [rdi + r11 * 8 + other.shift], rax
    add         rsi, [rsp + frame.done]
    mov         [rdi + r11 * 8 + other.index], rsi
    inc         r11d
    test        r13d, r13d
    jnz         %%key
%%done:
%endmacro

; Compares the rsi keys listed at [rdi].
%macro SECOND 1
    dec         rsi
    js          %%done
%%key:
    mov         r9, [rdi + rsi * 8 + other.line]
    COMPARE_%1  rdi + rsi * 8 + other.code
    mov         r10d, [r9 + 60]
    mov         rcx, [rdi + rsi * 8 + other.shift]
    BOUNDS_%1
    add         rax, -1
    setc        al
    movzx       eax, al
    mov         rcx, [rdi + rsi * 8 + other.index]
    shlx        rax, rax, rcx
    shr         rcx, 6
    mov         rdx, [rsp + frame.maybe]
    or          [rdx + rcx * 8], rax
    dec         rsi
    jns         %%key
%%done:
%endmacro

; Half number %2 (a register, spoilt) of the array %3 in the frame, into %1; %4 is the size of a half.
%macro HALF 4
    imul        %2, %2, %4
    lea         %1, [rsp + %2 + %3]
%endmacro

; The whole function: instruction set, ymm or zmm, keys in a vector. Registers that live through the loop:
;     rbx spots of the present block    r12 LAST_END    r15d ages    rbp probe_ages    rsp frame
%macro PROBE 3
FN probe, %1, table, keys, n, maybe
    SAVE        rbx, rbp, r12, r13, r14, r15
    test        nq, nq
    jz          .nothing
    FRAME       frame.size, frame.stack
    mov         [rsp + frame.table], tableq
    mov         [rsp + frame.keys], keysq
    mov         [rsp + frame.n], nq
    mov         [rsp + frame.maybe], maybeq
    lea         rax, [nq - 1]
    shr         rax, 6
    mov         qword [maybeq + rax * 8], 0
    CONSTANTS   %2
    mov         r15d, [tableq + table.ages]
    mov         r12d, LAST_END >> 5
    shl         r12, 5
    lea         rbp, [probe_ages]
    xor         eax, eax
    mov         [rsp + frame.pending], rax
    mov         [rsp + frame.done], rax
    mov         [rsp + frame.turn], rax
    mov         eax, BLOCK
    cmp         nq, rax
    cmovb       rax, nq
    mov         [rsp + frame.now], rax
    lea         rdi, [rsp + frame.spots]
    LOCATE      %1, %3
.block:
    mov         rax, [rsp + frame.done]
    add         rax, [rsp + frame.now]
    mov         rsi, [rsp + frame.keys]
    lea         rsi, [rsi + rax * 8]
    neg         rax
    add         rax, [rsp + frame.n]
    mov         ecx, BLOCK
    cmp         rax, rcx
    cmova       rax, rcx
    mov         [rsp + frame.next], rax
    mov         rdx, [rsp + frame.turn]
    xor         edx, 1
    HALF        rdi, rdx, frame.spots, spot.size
    LOCATE      %1, %3
    mov         rdx, [rsp + frame.turn]
    HALF        rbx, rdx, frame.spots, spot.size
    xor         r11d, r11d
    cmp         qword [rsp + frame.now], 0
    je          .second
    MATCH       %1
    mov         rax, [rsp + frame.done]
    shr         rax, 3
    add         rax, [rsp + frame.maybe]
    mov         [rax], r13d
    or          r13d, r14d
    not         r13d
    mov         ecx, [rsp + frame.now]
    bzhi        r13d, r13d, ecx
    mov         rdx, [rsp + frame.turn]
    HALF        rdi, rdx, frame.others, other.size
    LIST
.second:
    mov         rdx, [rsp + frame.turn]
    xor         edx, 1
    mov         [rsp + frame.turn], rdx
    HALF        rdi, rdx, frame.others, other.size
    mov         rsi, [rsp + frame.pending]
    mov         [rsp + frame.pending], r11
    SECOND      %1
    mov         rax, [rsp + frame.now]
    add         [rsp + frame.done], rax
    mov         rax, [rsp + frame.next]
    mov         [rsp + frame.now], rax
    or          rax, [rsp + frame.pending]
    jnz         .block
    UNFRAME     frame.stack
.nothing:
    RETFN
ENDFN
%endmacro

PROBE avx2, ymm, 4
PROBE avx512, zmm, 8
