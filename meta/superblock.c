/* SPDX-License-Identifier: MIT */
/*
 * Superblock encoding, checking, and its two copies.
 */
#include "meta/superblock.h"

#include "meta/base/crc.h"
#include "meta/base/err.h"
#include "meta/base/io.h"
#include "meta/base/log.h"

#include <assert.h>

#define BODY_BYTES     (FOLD_SUPERBLOCK_BYTES - 4)
#define CHUNK_SIZE_MAX (4u << 20)
#define SUPERBLOCK_MAX 65536 /* largest a later version may be */

static const uint8_t magic[8] = {'F', 'O', 'L', 'D', 'V', 'O', 'L', '\n'};
static const char *const copies[2] = {"volume", "volume.bak"};

void fold_superblock_encode(uint8_t out[FOLD_SUPERBLOCK_BYTES], const struct fold_volume_params *p)
{
    memset(out, 0, FOLD_SUPERBLOCK_BYTES);
    struct fold_wr w = fold_wr_init(out, FOLD_SUPERBLOCK_BYTES);
    fold_wr_bytes(&w, magic, sizeof magic);
    fold_wr_u32(&w, FOLD_SUPERBLOCK_VERSION);
    fold_wr_u32(&w, FOLD_SUPERBLOCK_BYTES);
    fold_wr_u64(&w, p->features);
    fold_wr_u64(&w, 0);
    fold_wr_bytes(&w, p->uuid, sizeof p->uuid);
    fold_wr_u8(&w, p->chunker);
    fold_wr_u8(&w, p->hash);
    fold_wr_u8(&w, p->codec);
    fold_wr_u8(&w, 0);
    fold_wr_u32(&w, p->chunk_size);
    fold_wr_bytes(&w, p->secret, sizeof p->secret);
    w.p = out + BODY_BYTES;
    fold_crc_put(&w);
    assert(!w.bad);
}

static bool sane(const struct fold_volume_params *p)
{
    return p->chunker >= 1 && p->chunker <= 2 && p->hash >= 1 && p->hash <= 2 &&
           p->codec <= FOLD_CODEC_ZSTD && p->chunk_size > 0 && p->chunk_size <= CHUNK_SIZE_MAX;
}

int fold_superblock_decode(const void *data, size_t len, struct fold_volume_params *out)
{
    struct fold_rd r = fold_rd_init(data, len);
    const uint8_t *m = fold_rd_bytes(&r, sizeof magic);
    uint32_t version = fold_rd_u32(&r);
    uint32_t length = fold_rd_u32(&r);
    if (m == NULL || memcmp(m, magic, sizeof magic) != 0 || r.bad || length != len || len < 32)
        return -FOLD_E_BAD_SUPERBLOCK;
    if (!fold_crc_holds(data, len))
        return -FOLD_E_BAD_SUPERBLOCK;
    if (version > FOLD_SUPERBLOCK_VERSION)
        return -FOLD_E_NEWER_FORMAT;
    struct fold_volume_params p = {.features = fold_rd_u64(&r)};
    (void)fold_rd_u64(&r);
    const uint8_t *uuid = fold_rd_bytes(&r, sizeof p.uuid);
    p.chunker = fold_rd_u8(&r);
    p.hash = fold_rd_u8(&r);
    p.codec = fold_rd_u8(&r);
    (void)fold_rd_u8(&r);
    p.chunk_size = fold_rd_u32(&r);
    const uint8_t *secret = fold_rd_bytes(&r, sizeof p.secret);
    if (uuid == NULL || secret == NULL || len != FOLD_SUPERBLOCK_BYTES || version == 0)
        return -FOLD_E_BAD_SUPERBLOCK;
    if ((p.features & ~(uint64_t)FOLD_FEATURES_KNOWN) != 0)
        return -FOLD_E_UNKNOWN_FEATURE;
    if (!sane(&p))
        return -FOLD_E_BAD_SUPERBLOCK;
    memcpy(p.uuid, uuid, sizeof p.uuid);
    memcpy(p.secret, secret, sizeof p.secret);
    *out = p;
    return 0;
}

int fold_superblock_write(int storefd, const struct fold_volume_params *p)
{
    if (!sane(p))
        return -EINVAL;
    if ((p->features & ~(uint64_t)FOLD_FEATURES_KNOWN) != 0)
        return -FOLD_E_UNKNOWN_FEATURE;
    uint8_t bytes[FOLD_SUPERBLOCK_BYTES];
    fold_superblock_encode(bytes, p);
    /* The copy first: the directory becomes a store with the name `volume`. */
    for (size_t i = FOLD_ARRAY_LEN(copies); i-- > 0;) {
        int rc = fold_io_replace(storefd, copies[i], bytes, sizeof bytes, 0600);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int read_copy(int storefd, const char *name, struct fold_volume_params *out)
{
    FOLD_AUTO(free) void *data = NULL;
    size_t len = 0;
    int rc = fold_io_slurp(storefd, name, SUPERBLOCK_MAX, &data, &len);
    if (rc == -EFBIG)
        return -FOLD_E_BAD_SUPERBLOCK;
    return rc < 0 ? rc : fold_superblock_decode(data, len, out);
}

int fold_superblock_read(int storefd, bool repair, struct fold_volume_params *out)
{
    struct fold_volume_params p;
    int rc[2];
    rc[0] = read_copy(storefd, copies[0], &p);
    /* What a newer foldfs wrote on purpose is no damage. */
    if (rc[0] == -FOLD_E_NEWER_FORMAT || rc[0] == -FOLD_E_UNKNOWN_FEATURE)
        return rc[0];
    struct fold_volume_params spare;
    rc[1] = read_copy(storefd, copies[1], &spare);
    if (rc[0] == -ENOENT && rc[1] == -ENOENT)
        return -FOLD_E_NOT_A_STORE;
    if (rc[0] < 0 && rc[1] < 0)
        return rc[0] != -ENOENT ? rc[0] : rc[1];
    if (rc[0] < 0)
        p = spare;
    *out = p;
    for (size_t i = 0; i < FOLD_ARRAY_LEN(copies); i++) {
        if (rc[i] == 0)
            continue;
        fold_warn("superblock copy %s: %s; the other one is good", copies[i], fold_err_text(rc[i]));
        uint8_t bytes[FOLD_SUPERBLOCK_BYTES];
        fold_superblock_encode(bytes, &p);
        int fixed = repair ? fold_io_replace(storefd, copies[i], bytes, sizeof bytes, 0600) : 0;
        if (fixed < 0)
            fold_warn("superblock copy %s: cannot repair: %s", copies[i], fold_err_text(fixed));
    }
    return 0;
}
