/* A disk that misbehaves, for one process: loaded before libc (LD_PRELOAD), it comes between a program and the files
 * whose path contains $BAD_DISK_UNDER. What it does is read anew at every call from the file $BAD_DISK_ORDERS:
 *
 *     <ms that each sync takes> <errno of writes> <errno of reads> <ms that each read at a place takes>
 *
 * with 0 for none. An errno of writes meets everything that changes something: writes, syncs, creations, renames,
 * removals. Syncs and data calls go by the descriptor's path, the others by the path they name. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct orders { long slow_ms, write_errno, read_errno, read_ms; };

static struct orders orders(void) {
    struct orders orders = {0, 0, 0, 0};
    char text[64] = {0};
    const char *path = getenv("BAD_DISK_ORDERS");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd < 0) return orders;
    long got = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (got > 0) sscanf(text, "%ld %ld %ld %ld", &orders.slow_ms, &orders.write_errno, &orders.read_errno, &orders.read_ms);
    return orders;
}

static int concerns(const char *path) {
    const char *under = getenv("BAD_DISK_UNDER");
    return under && path && strstr(path, under) != NULL;
}

static int concerns_fd(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return concerns(path);
}

static int refused(long error) {
    if (error) errno = (int)error;
    return error != 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRITES(concerned) if ((concerned) && refused(orders().write_errno)) return -1
#define READS(fd) if (concerns_fd(fd) && refused(orders().read_errno)) return -1

static void takes(long ms) {
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    if (ms) nanosleep(&pause, NULL);
}

/* Says in $BAD_DISK_ORDERS.stalled that a read waits. */
static void stalls_reading(int fd) {
    long ms = orders().read_ms;
    if (!ms || !concerns_fd(fd)) return;
    char path[4096];
    snprintf(path, sizeof path, "%s.stalled", getenv("BAD_DISK_ORDERS"));
    int said = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (said >= 0) syscall(SYS_close, said);
    takes(ms);
}

static int stalls(int fd) {
    struct orders now = orders();
    if (!concerns_fd(fd)) return 0;
    takes(now.slow_ms);
    return refused(now.write_errno);
}

int fsync(int fd) { return stalls(fd) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return stalls(fd) ? -1 : REAL(fdatasync)(fd); }

ssize_t write(int fd, const void *from, size_t n) { WRITES(concerns_fd(fd)); return REAL(write)(fd, from, n); }
ssize_t pwrite(int fd, const void *from, size_t n, off_t at) { WRITES(concerns_fd(fd)); return REAL(pwrite)(fd, from, n, at); }
ssize_t pwrite64(int fd, const void *from, size_t n, off64_t at) { WRITES(concerns_fd(fd)); return REAL(pwrite64)(fd, from, n, at); }
int ftruncate(int fd, off_t n) { WRITES(concerns_fd(fd)); return REAL(ftruncate)(fd, n); }
int ftruncate64(int fd, off64_t n) { WRITES(concerns_fd(fd)); return REAL(ftruncate64)(fd, n); }
ssize_t read(int fd, void *to, size_t n) { READS(fd); return REAL(read)(fd, to, n); }
ssize_t pread(int fd, void *to, size_t n, off_t at) { READS(fd); stalls_reading(fd); return REAL(pread)(fd, to, n, at); }
ssize_t pread64(int fd, void *to, size_t n, off64_t at) { READS(fd); stalls_reading(fd); return REAL(pread64)(fd, to, n, at); }

int rename(const char *from, const char *to) { WRITES(concerns(to)); return REAL(rename)(from, to); }
int mkdir(const char *path, mode_t mode) { WRITES(concerns(path)); return REAL(mkdir)(path, mode); }
int rmdir(const char *path) { WRITES(concerns(path)); return REAL(rmdir)(path); }
int unlink(const char *path) { WRITES(concerns(path)); return REAL(unlink)(path); }
int unlinkat(int dir, const char *path, int flags) {
    WRITES(concerns(path) || (dir >= 0 && concerns_fd(dir)));
    return REAL(unlinkat)(dir, path, flags);
}

#define CHANGES(flags) (((flags) & O_ACCMODE) != O_RDONLY || ((flags) & O_CREAT))
#define MODE mode_t mode = 0; if (flags & O_CREAT) { va_list more; va_start(more, flags); mode = va_arg(more, mode_t); va_end(more); }
int open(const char *path, int flags, ...) { MODE WRITES(CHANGES(flags) && concerns(path)); return REAL(open)(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE WRITES(CHANGES(flags) && concerns(path)); return REAL(open64)(path, flags, mode); }
