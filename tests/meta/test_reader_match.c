/* SPDX-License-Identifier: MIT */
/*
 * Many chunks compared with stored ones at once: each gets the outcome that it would get alone,
 * whatever its neighbours are: other bytes, other lengths, compressed, damaged, lost, or in a part
 * of the mapping that cannot be read.
 */
#include "blob_rig.h"

#include "meta/codec.h"

#define N   150 /* more than one pass */
#define LEN 4000

struct set {
    struct rig rig;
    uint8_t data[N][LEN + N];
    struct fold_loc locs[N];
    struct fold_match match[N];
};

static uint32_t len_of(size_t i)
{
    return LEN + (uint32_t)i;
}

/* Odd chunks are stored as they are, even ones compressed. */
static struct set *make(uint32_t segment_bytes)
{
    struct set *s = calloc(1, sizeof *s);
    assert_non_null(s);
    rig_init(&s->rig);
    fold_log_set_level((enum fold_log_level) - 1);
    s->rig.opt.segment_bytes = segment_bytes;
    rig_open(&s->rig);
    for (size_t i = 0; i < N; i++) {
        rig_fill(i, s->data[i], len_of(i));
        s->locs[i] = rig_put(&s->rig, i, len_of(i));
    }
    return s;
}

static void drop(struct set *s)
{
    rig_fini(&s->rig);
    free(s);
}

static void ask(struct set *s)
{
    for (size_t i = 0; i < N; i++)
        s->match[i] = (struct fold_match){
            .loc = s->locs[i], .data = s->data[i], .len = len_of(i), .rc = 99, .equal = true};
}

/* Runs the batch and demands of each chunk what fold_store_compare says; returns how many are
 * equal. */
static unsigned agree(struct set *s)
{
    unsigned equal = 0;
    fold_store_compare_batch(s->rig.store, s->match, N);
    for (size_t i = 0; i < N; i++) {
        const struct fold_match *m = &s->match[i];
        bool alone = false;
        assert_int_equal(m->rc, fold_store_compare(s->rig.store, m->loc, m->data, m->len, &alone));
        assert_int_equal(m->equal, m->rc == 0 && alone);
        equal += m->equal;
    }
    return equal;
}

static void equal_chunks_are_found_equal(void **state FOLD_UNUSED)
{
    struct set *s = make(256u << 10);
    ask(s);
    assert_int_equal(agree(s), N);
    rig_close(&s->rig, true);
    rig_open(&s->rig);
    assert_int_equal(agree(s), N);
    fold_store_compare_batch(s->rig.store, s->match, 0);
    s->match[1].equal = false;
    fold_store_compare_batch(s->rig.store, s->match + 1, 1);
    assert_true(s->match[1].rc == 0 && s->match[1].equal);
    drop(s);
}

static void each_difference_is_seen(void **state FOLD_UNUSED)
{
    struct set *s = make(1u << 20);
    for (size_t i = 0; i < N; i++)
        if (i % 3 == 0)
            s->data[i][i % 2 == 0 ? len_of(i) - 1 : i] ^= 1;
    ask(s);
    for (size_t i = 1; i < N; i += 3)
        s->match[i].len -= (uint32_t)(i % 2);
    assert_int_equal(agree(s), N / 3 + N / 6);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(s->match[i].rc, 0);
        assert_int_equal(s->match[i].equal, i % 3 == 2 || (i % 3 == 1 && i % 2 == 0));
    }
    drop(s);
}

static void damage_and_loss_stay_with_their_chunk(void **state FOLD_UNUSED)
{
    struct set *s = make(8u << 20);
    rig_close(&s->rig, true);
    int fd = rig_file(&s->rig, "segments/00000001.seg");
    rig_flip(fd, s->locs[11].off + 500, 3); /* payloads, stored as it is and compressed */
    rig_flip(fd, s->locs[12].off + 80, 3);
    rig_flip(fd, s->locs[13].off + 5, 3); /* header */
    (void)close(fd);
    rig_open(&s->rig);
    ask(s);
    s->match[14].loc.seg = 77;
    assert_int_equal(agree(s), N - 4);
    for (size_t i = 0; i < N; i++) {
        int want = i >= 11 && i <= 13 ? -FOLD_E_BAD_RECORD : 0;
        assert_int_equal(s->match[i].rc, i == 14 ? -FOLD_E_LOST_CHUNK : want);
    }
    drop(s);
}

/* The end of the mapped file goes away behind the store's back. */
static void a_fault_stays_with_its_chunk(void **state FOLD_UNUSED)
{
    struct set *s = make(8u << 20);
    rig_close(&s->rig, true);
    rig_open(&s->rig);
    ask(s);
    assert_int_equal(agree(s), N);
    int fd = rig_file(&s->rig, "segments/00000001.seg");
    uint32_t cut = s->locs[N / 2].off & ~4095u;
    assert_int_equal(ftruncate(fd, (off_t)cut), 0);
    (void)close(fd);
    unsigned equal = agree(s);
    assert_in_range(equal, N / 2 - 3, N / 2);
    for (size_t i = 0; i < N; i++) {
        if (s->locs[i].off + len_of(i) + 200 < cut)
            assert_true(s->match[i].equal);
        if (s->locs[i].off >= cut)
            assert_int_equal(s->match[i].rc, -EIO);
    }
    drop(s);
}

/* Makes the payload another one that decodes to the same bytes: false if this bit does not. */
static bool disguise(int fd, off_t at, uint32_t stored, unsigned bit, const uint8_t *raw)
{
    static uint8_t payload[LEN + N], decoded[LEN + N];
    assert_int_equal(pread(fd, payload, stored, at), stored);
    payload[bit / 8] ^= (uint8_t)(1u << bit % 8);
    if (fold_codec_decompress(FOLD_CODEC_LZ4, payload, stored, decoded, LEN) < 0 ||
        memcmp(decoded, raw, LEN) != 0)
        return false;
    assert_int_equal(pwrite(fd, &payload[bit / 8], 1, at + bit / 8), 1);
    return true;
}

/* Readers check the payload before they decode it: a hit on such a chunk could not be read. */
static void damage_that_decodes_right_is_damage(void **state FOLD_UNUSED)
{
    struct set *s = make(8u << 20);
    struct fold_view view;
    assert_int_equal(fold_store_view(s->rig.store, s->locs[0], &view), 0);
    uint32_t stored = view.stored_len;
    assert_true(view.codec == FOLD_CODEC_LZ4 && view.raw_len == LEN);
    fold_store_unview(s->rig.store, &view);
    int fd = rig_file(&s->rig, "segments/00000001.seg");
    unsigned bit = 0;
    while (bit < stored * 8 && !disguise(fd, s->locs[0].off + 48, stored, bit, s->data[0]))
        bit++;
    assert_true(bit < stored * 8);
    (void)close(fd);
    ask(s);
    assert_int_equal(agree(s), N - 1);
    assert_int_equal(s->match[0].rc, -FOLD_E_BAD_RECORD);
    struct fold_fp fp = rig_fp(0, 16);
    assert_int_equal(fold_store_heal(s->rig.store, s->locs[0], s->data[0], LEN, &fp), 0);
    assert_int_equal(rig_read(s->rig.store, s->locs[0], 0, LEN), 0);
    drop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_chunks_are_found_equal),
        cmocka_unit_test(each_difference_is_seen),
        cmocka_unit_test(damage_and_loss_stay_with_their_chunk),
        cmocka_unit_test(a_fault_stays_with_its_chunk),
        cmocka_unit_test(damage_that_decodes_right_is_damage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
