/*
 * A libzstd.so.1 whose compression fails from its 500th page on. Until then a page "compresses" to more
 * than it is, so that it is sent as it is and nobody needs a real frame.
 */
#include <stddef.h>

static int pages;

void *ZSTD_createCCtx(void) { return &pages; }
size_t ZSTD_freeCCtx(void *context) { return 0; }
size_t ZSTD_CCtx_setParameter(void *context, int parameter, int value) { return 0; }
size_t ZSTD_compress2(void *context, void *to, size_t room, const void *from, size_t length)
{
    return __atomic_add_fetch(&pages, 1, __ATOMIC_SEQ_CST) < 500 ? length + 10 : (size_t)-64;
}
void *ZSTD_createDCtx(void) { return &pages; }
size_t ZSTD_freeDCtx(void *context) { return 0; }
size_t ZSTD_decompressDCtx(void *c, void *to, size_t room, const void *from, size_t n) { return (size_t)-1; }
size_t ZSTD_findFrameCompressedSize(const void *from, size_t length) { return (size_t)-1; }
size_t ZSTD_compressStream2(void *c, void *to, void *from, int end) { return (size_t)-1; }
size_t ZSTD_decompressStream(void *c, void *to, void *from) { return (size_t)-1; }
const char *ZSTD_getErrorName(size_t code) { return "Allocation error : not enough memory"; }
