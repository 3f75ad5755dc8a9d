// Preloaded into the gateway: whatever writes to a file below NOIO_DIRECTORY fails with the error number that stands in
// the file NOIO_SWITCH, while that file is there.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int fault(void) {
    const char *path = getenv("NOIO_SWITCH");
    static int (*real_open)(const char *, int, ...);
    static ssize_t (*real_read)(int, void *, size_t);
    if (!real_open) { real_open = dlsym(RTLD_NEXT, "open"); real_read = dlsym(RTLD_NEXT, "read"); }
    if (!path) return 0;
    int file = real_open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    char text[16] = "";
    ssize_t got = real_read(file, text, sizeof text - 1);
    close(file);
    return got > 0 ? atoi(text) : 0;
}

static int below(const char *path) {
    const char *directory = getenv("NOIO_DIRECTORY");
    return directory && strncmp(path, directory, strlen(directory)) == 0;
}

static int is_ours(int file) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path);
}

// 1 where the call must fail; errno is set then.
static int fails(int file) {
    int saved = errno, code = is_ours(file) ? fault() : 0;
    errno = code ? code : saved;
    return code != 0;
}

static int opening_fails(const char *path, int flags) {
    int saved = errno, writes = (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC);
    int code = writes && below(path) ? fault() : 0;
    errno = code ? code : saved;
    return code != 0;
}

#define REAL(name) static __typeof__(&name) real; if (!real) real = dlsym(RTLD_NEXT, #name)
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); \
        return opening_fails(path, flags) ? -1 : real(path, flags, mode); \
    }
#define OPENAT(name) \
    int name(int at, const char *path, int flags, ...) { \
        REAL(name); \
        va_list more; va_start(more, flags); int mode = va_arg(more, int); va_end(more); \
        return opening_fails(path, flags) ? -1 : real(at, path, flags, mode); \
    }
#define CALL(type, name, parameters, arguments) \
    type name parameters { REAL(name); return fails(file) ? -1 : real arguments; }

OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
CALL(ssize_t, write, (int file, const void *data, size_t size), (file, data, size))
CALL(ssize_t, writev, (int file, const struct iovec *data, int count), (file, data, count))
CALL(ssize_t, pwrite, (int file, const void *data, size_t size, off_t at), (file, data, size, at))
CALL(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t at), (file, data, size, at))
CALL(int, ftruncate, (int file, off_t size), (file, size))
CALL(int, ftruncate64, (int file, off64_t size), (file, size))
CALL(int, fallocate, (int file, int mode, off_t at, off_t size), (file, mode, at, size))
CALL(int, fallocate64, (int file, int mode, off64_t at, off64_t size), (file, mode, at, size))
CALL(int, fsync, (int file), (file))
CALL(int, fdatasync, (int file), (file))

int posix_fallocate(int file, off_t at, off_t size) {
    REAL(posix_fallocate);
    return fails(file) ? errno : real(file, at, size);
}

int posix_fallocate64(int file, off64_t at, off64_t size) {
    REAL(posix_fallocate64);
    return fails(file) ? errno : real(file, at, size);
}

int unlink(const char *path) {
    REAL(unlink);
    int code = below(path) ? fault() : 0;
    if (code) { errno = code; return -1; }
    return real(path);
}

int rename(const char *from, const char *to) {
    REAL(rename);
    int code = below(to) ? fault() : 0;
    if (code) { errno = code; return -1; }
    return real(from, to);
}
