/* SPDX-License-Identifier: MIT */
/* Mount options and sizes: any text is accepted or refused with a sentence; a size prints as it
 * parses. */
#include "fs/options.h"
#include "tests/fuzz/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    FOLD_HOLDS(text != NULL);
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    struct fold_mount_options opt;
    char why[200] = "";
    fold_mount_options_init(&opt, true);
    if (fold_mount_options_parse(&opt, text, false, why, sizeof why) < 0) {
        FOLD_HOLDS(memchr(why, 0, sizeof why) != NULL && why[0] != '\0');
    } else {
        char *fuse = fold_mount_options_fuse(&opt, "/some/where, else");
        FOLD_HOLDS(fuse != NULL);
        free(fuse);
    }
    uint64_t bytes, again;
    char printed[32];
    if (fold_size_parse(text, &bytes) == 0)
        FOLD_HOLDS(fold_size_parse(fold_size_exact(bytes, printed, sizeof printed), &again) == 0 &&
                   again == bytes);
    free(text);
    return 0;
}
