/* SPDX-License-Identifier: MIT */
/* A recipe page: 8 bytes of page number, then the packed page. What is accepted is in order, in
 * bounds, and packs again. */
#include "meta/recipe.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fold_rd r = fold_rd_init(data, size);
    struct fold_page page = {0}, again = {0};
    uint64_t page_no = fold_rd_u64(&r);
    if (r.bad)
        return 0;
    size_t len = fold_rd_left(&r);
    uint8_t *copy = fold_fuzz_copy(r.p, len);
    if (fold_page_decode(copy, len, page_no, &page) == 0) {
        uint64_t pos = page_no * FOLD_PAGE_BYTES;
        for (uint32_t i = 0; i < page.count; i++) {
            const struct fold_extent *e = &page.extents[i];
            FOLD_HOLDS(e->off >= pos && e->len > 0);
            pos = e->off + e->len;
        }
        FOLD_HOLDS(pos <= (page_no + 1) * FOLD_PAGE_BYTES);
        void *packed;
        size_t packed_len;
        if (fold_page_encode(&page, page_no, &packed, &packed_len) == 0) {
            FOLD_HOLDS(fold_page_decode(packed, packed_len, page_no, &again) == 0 &&
                       again.count == page.count);
            fold_page_fini(&again);
            free(packed);
        }
        FOLD_HOLDS(fold_page_punch(&page, page_no * FOLD_PAGE_BYTES + 1000, 5000) == 0);
        fold_page_fini(&page);
    }
    free(copy);
    return 0;
}
