/* SPDX-License-Identifier: MIT */
/*
 * foldfs mkfs: creates a store.
 */
#include "fs/cli/verbs.h"

#include "chunker/cutter.h"
#include "fs/options.h"
#include "hashing/fingerprint.h"
#include "meta/base/err.h"
#include "meta/base/say.h"
#include "meta/volume.h"

struct word {
    const char *text;
    int value;
};

static const struct word chunkers[] = {{"cdc", FOLD_CUT_CDC}, {"fixed", FOLD_CUT_FIXED}, {NULL, 0}};
static const struct word hashes[] = {
    {"xxh3", FOLD_HASH_XXH3}, {"sha256", FOLD_HASH_SHA256}, {NULL, 0}};
static const struct word codecs[] = {
    {"lz4", FOLD_CODEC_LZ4}, {"zstd", FOLD_CODEC_ZSTD}, {"none", FOLD_CODEC_NONE}, {NULL, 0}};

enum { CHUNKER = 256, CHUNK_SIZE, HASH, COMPRESS };

static const struct fold_cli_option options[] = {
    {CHUNKER, "chunker", "cdc|fixed", "cut files by content (default) or at fixed offsets"},
    {CHUNK_SIZE, "chunk-size", "SIZE",
     "mean or fixed size of chunks, 4K to 1M, a power of two (default 16K)"},
    {HASH, "hash", "xxh3|sha256",
     "fingerprint of chunks (default xxh3; its hits are compared byte by byte)"},
    {COMPRESS, "compress", "lz4|zstd|none", "compression of chunks (default lz4)"},
    {0, NULL, NULL, NULL},
};

static bool choose(const struct word *words, const char *text, uint8_t *value)
{
    for (; words->text != NULL; words++)
        if (strcmp(words->text, text) == 0) {
            *value = (uint8_t)words->value;
            return true;
        }
    return false;
}

static const char *name_of(const struct word *words, uint8_t value)
{
    while (words->text != NULL && words->value != value)
        words++;
    return words->text != NULL ? words->text : "?";
}

static int set_chunk_size(const struct fold_verb *verb, struct fold_volume_params *params,
                          const char *text)
{
    uint64_t size;
    struct fold_cut cut;
    int rc = fold_size_parse(text, &size);
    if (rc != 0)
        return fold_cli_misuse(verb, "'%s' is not a size (like 16K)", text);
    if (size > FOLD_CHUNK_MAX_AVG || fold_cut_init(&cut, FOLD_CUT_CDC, (uint32_t)size) != 0)
        return fold_cli_misuse(
            verb, "a chunk size of %s is not possible; it must be a power of two from 4K to 1M",
            text);
    params->chunk_size = (uint32_t)size;
    return 0;
}

static int set(const struct fold_verb *verb, struct fold_volume_params *params, int id,
               const char *value)
{
    switch (id) {
    case CHUNKER:
        if (!choose(chunkers, value, &params->chunker))
            return fold_cli_misuse(verb, "there is no chunker '%s'; choose cdc or fixed", value);
        return 0;
    case HASH:
        if (!choose(hashes, value, &params->hash))
            return fold_cli_misuse(verb, "there is no hash '%s'; choose xxh3 or sha256", value);
        return 0;
    case COMPRESS:
        if (!choose(codecs, value, &params->codec))
            return fold_cli_misuse(verb, "there is no compression '%s'; choose lz4, zstd or none",
                                   value);
        return 0;
    default:
        return set_chunk_size(verb, params, value);
    }
}

static int format(const struct fold_verb *verb, const char *store,
                  const struct fold_volume_params *params)
{
    struct fold_volume_params made;
    char size[24];
    int rc = fold_volume_format(store, params);
    if (rc == 0)
        rc = fold_volume_probe(store, &made);
    if (rc != 0)
        return fold_cli_fail(verb, fold_cli_exit_code(rc), "cannot make a store in '%s': %s", store,
                             fold_err_text(rc));
    fold_say(stdout, "%s: new foldfs store; %s chunks of %s, %s fingerprints, compression %s%s",
             store, made.chunker == FOLD_CUT_CDC ? "content-defined" : "fixed",
             fold_size_exact(made.chunk_size, size, sizeof size), name_of(hashes, made.hash),
             name_of(codecs, made.codec),
             (made.features & FOLD_FEATURE_DIRHASH2) != 0 ? ", feature dirhash2" : "");
    return FOLD_EXIT_OK;
}

static int run(const struct fold_verb *verb, int argc, char **argv)
{
    struct fold_volume_params params = {.chunker = FOLD_CUT_CDC,
                                        .hash = FOLD_HASH_XXH3,
                                        .codec = FOLD_CODEC_LZ4,
                                        .chunk_size = 16u << 10,
                                        .features = FOLD_FEATURES_NEW};
    struct fold_cli cli;
    const char *value;
    int id;
    fold_cli_begin(&cli, verb, argc, argv);
    while ((id = fold_cli_next(&cli, &value)) != FOLD_CLI_END) {
        if (id == FOLD_CLI_EXIT)
            return cli.exit;
        int code = set(verb, &params, id, value);
        if (code != 0)
            return code;
    }
    char **operands = fold_cli_operands(&cli, 1, 1, NULL);
    return operands != NULL ? format(verb, operands[0], &params) : cli.exit;
}

const struct fold_verb fold_verb_mkfs = {
    .name = "mkfs",
    .synopsis = "[OPTIONS] STORE",
    .summary = "create a store",
    .details =
        "STORE is a directory, made if it is missing and empty otherwise. What is chosen here\n"
        "holds for the life of the store; compression can be overridden at mount.\n",
    .options = options,
    .run = run,
};
