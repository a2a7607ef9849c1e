/* SPDX-License-Identifier: MIT */
/*
 * Drives a fuzz target without libFuzzer: each file of the given directories as it is, cut at every
 * length (for short files), and with random changes from a fixed seed. A target that finds
 * something wrong aborts.
 */
#include "tests/fuzz/target.h"
#include "tests/support/random.h"

#include <dirent.h>
#include <stdio.h>

#define VARIANTS  1500u
#define CUTS      600u
#define INPUT_MAX (1u << 20)

static uint64_t state = 0x9E3779B97F4A7C15u;

static uint64_t rng(void)
{
    return rig_random(&state);
}

static void change(uint8_t *p, size_t len)
{
    static const uint8_t odd[] = {0x00, 0x01, 0x7f, 0x80, 0xff};
    size_t at = rng() % len;
    switch (rng() % 4) {
    case 0:
        p[at] ^= (uint8_t)(1u << rng() % 8);
        break;
    case 1:
        p[at] = odd[rng() % sizeof odd];
        break;
    case 2:
        p[at] = (uint8_t)rng();
        break;
    default: {
        size_t from = rng() % len;
        size_t n = 1 + rng() % 16;
        n = FOLD_MIN(n, len - FOLD_MAX(at, from));
        memmove(p + at, p + from, n);
        break;
    }
    }
}

static size_t run_file(const char *path)
{
    static uint8_t input[INPUT_MAX], variant[INPUT_MAX];
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    size_t len = fread(input, 1, sizeof input, file);
    fclose(file);
    (void)LLVMFuzzerTestOneInput(input, len);
    for (size_t cut = 0; cut < len && cut < CUTS; cut++)
        (void)LLVMFuzzerTestOneInput(input, cut);
    for (size_t i = 0; len > 0 && i < VARIANTS; i++) {
        memcpy(variant, input, len);
        for (uint64_t n = 1 + rng() % 6; n > 0; n--)
            change(variant, len);
        (void)LLVMFuzzerTestOneInput(variant, rng() % 4 == 0 ? rng() % (len + 1) : len);
    }
    return 1;
}

int main(int argc, char **argv)
{
    size_t files = 0;
    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        const struct dirent *e;
        while (dir != NULL && (e = readdir(dir)) != NULL) {
            char path[4096];
            (void)snprintf(path, sizeof path, "%s/%s", argv[i], e->d_name);
            if (e->d_name[0] != '.')
                files += run_file(path);
        }
        if (dir != NULL)
            closedir(dir);
    }
    printf("%zu files of the corpus\n", files);
    return files > 0 ? 0 : 1;
}
