/* Records or refuses what a process does to the files of one folder.
 *
 * Loaded by LD_PRELOAD, so that it also sees the writes of TensorFlow, HDF5 and
 * TFLite. glibc's stdio calls the system by names that cannot be replaced, so
 * `fwrite` is replaced too. What it misses, such as memory maps, shows when the
 * log is compared with the folder: `power_disk.Disk.check` does this.
 *
 * A record: operation, two numbers, two lengths, then two byte strings.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE, SIZE, FSYNC, CLOSE, RENAME, UNLINK, MKDIR, MARK };
enum { FILES = 65536 };

static char root[PATH_MAX];
static size_t root_length;
static int log_file = -1;
static unsigned char tracked[FILES];
static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

/* What is refused: the call with this number, counted from `shim_refuse`. */
static long seen, refused_call;
static int refused_error, is_full; /* A full disk takes no more writes. */
static char refused[PATH_MAX + 32];

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)
#define LOCK pthread_mutex_lock(&mutex)
#define UNLOCK pthread_mutex_unlock(&mutex)

static ssize_t real_write(int fd, const void *data, size_t size) {
  REAL(write);
  return real(fd, data, size);
}

static void record(int op, int64_t a, int64_t b, const void *first,
                   uint32_t first_size, const void *second,
                   uint32_t second_size) {
  struct { int32_t op; uint32_t sizes[2]; int32_t pad; int64_t a, b; } head = {
      op, {first_size, second_size}, 0, a, b};
  int error = errno;
  if (log_file >= 0) {
    struct iovec parts[3] = {{&head, sizeof head},
                             {(void *)first, first_size},
                             {(void *)second, second_size}};
    for (int i = 0; i < 3; i++) {
      const char *at = parts[i].iov_base;
      size_t left = parts[i].iov_len;
      while (left) {
        ssize_t n = real_write(log_file, at, left);
        if (n < 0) abort();
        at += n, left -= n;
      }
    }
  }
  errno = error;
}

/* Writes the absolute path; returns whether it is in the folder. */
static int inside(int folder, const char *path, char *absolute) {
  if (!root_length || !path) return 0;
  int error = errno;
  if (path[0] == '/') {
    snprintf(absolute, PATH_MAX, "%s", path);
  } else {
    char base[PATH_MAX] = "";
    if (folder == AT_FDCWD) {
      if (!getcwd(base, sizeof base)) base[0] = 0;
    } else {
      char link[64];
      snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
      ssize_t n = readlink(link, base, sizeof base - 1);
      base[n < 0 ? 0 : n] = 0;
    }
    if (strlen(base) + strlen(path) + 2 > PATH_MAX) return 0;
    stpcpy(stpcpy(stpcpy(absolute, base), "/"), path);
  }
  errno = error;
  return !strncmp(absolute, root, root_length) &&
         (absolute[root_length] == '/' || !absolute[root_length]);
}

static int is_tracked(int fd) { return fd >= 0 && fd < FILES && tracked[fd]; }

/* Returns whether this call fails, and sets `errno`. */
static int refuse(const char *call, const char *path) {
  seen++;
  if (seen != refused_call) return 0;
  snprintf(refused, sizeof refused, "%s %s", call, path);
  errno = refused_error;
  return 1;
}

static int refuse_file(const char *call, int fd) {
  char link[64], path[PATH_MAX];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  path[n < 0 ? 0 : n] = 0;
  return refuse(call, path);
}

static void opened(int fd, int flags, const char *path) {
  if (fd < 0 || fd >= FILES) return;
  tracked[fd] = 1;
  record(OPEN, fd, flags, path, strlen(path), 0, 0);
}

static int open_any(int (*real)(int, const char *, int, ...), int folder,
                    const char *path, int flags, mode_t mode) {
  char absolute[PATH_MAX];
  if (!inside(folder, path, absolute)) {
    int fd = real(folder, path, flags, mode);
    if (fd >= 0 && fd < FILES) tracked[fd] = 0;
    return fd;
  }
  LOCK;
  int fd = -1;
  if (!refuse("open", absolute)) {
    fd = real(folder, path, flags, mode);
    opened(fd, flags, absolute);
  }
  UNLOCK;
  return fd;
}

static int open_at(int folder, const char *path, int flags, mode_t mode) {
  REAL(openat);
  return open_any(real, folder, path, flags, mode);
}

#define MODE                              \
  mode_t mode = 0;                        \
  if (flags & (O_CREAT | O_TMPFILE)) {    \
    va_list rest;                         \
    va_start(rest, flags);                \
    mode = va_arg(rest, mode_t);          \
    va_end(rest);                         \
  }

int open(const char *path, int flags, ...) {
  MODE;
  return open_at(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  MODE;
  return open_at(AT_FDCWD, path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
  MODE;
  return open_at(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
  MODE;
  return open_at(folder, path, flags, mode);
}
int creat(const char *path, mode_t mode) {
  return open_at(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

static FILE *open_stream(const char *path, const char *mode) {
  int flags = mode[0] == 'r' ? 0 : O_CREAT;
  if (mode[0] == 'w') flags |= O_TRUNC;
  if (mode[0] == 'a') flags |= O_APPEND;
  if (strchr(mode, '+')) flags |= O_RDWR;
  else if (mode[0] != 'r') flags |= O_WRONLY;
  if (strchr(mode, 'x')) flags |= O_EXCL;
  int fd = open_at(AT_FDCWD, path, flags | O_CLOEXEC, 0666);
  return fd < 0 ? NULL : fdopen(fd, mode);
}

FILE *fopen(const char *path, const char *mode) {
  char absolute[PATH_MAX];
  if (inside(AT_FDCWD, path, absolute)) return open_stream(path, mode);
  REAL(fopen);
  FILE *file = real(path, mode);
  if (file && fileno(file) < FILES) tracked[fileno(file)] = 0;
  return file;
}
FILE *fopen64(const char *path, const char *mode) { return fopen(path, mode); }

/* Writes at an offset, or where the file stands if that is negative. */
static ssize_t write_any(int fd, const void *data, size_t size, off_t offset) {
  REAL(pwrite);
  LOCK;
  ssize_t n = -1;
  if (is_full) {
    errno = ENOSPC;
    goto done;
  }
  if (refuse_file("write", fd)) {
    is_full = errno == ENOSPC;
    /* A part of it has room. */
    if (!is_full || size < 2) goto done;
    size /= 2;
  }
  if (offset >= 0) {
    n = real(fd, data, size, offset);
  } else {
    n = real_write(fd, data, size);
    offset = lseek(fd, 0, SEEK_CUR) - n;
  }
  if (n > 0) record(WRITE, fd, offset, data, n, 0, 0);
done:
  UNLOCK;
  return n;
}

ssize_t write(int fd, const void *data, size_t size) {
  if (!is_tracked(fd)) return real_write(fd, data, size);
  return write_any(fd, data, size, -1);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
  REAL(pwrite);
  if (!is_tracked(fd)) return real(fd, data, size, offset);
  return write_any(fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
  return pwrite(fd, data, size, offset);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
  REAL(writev);
  if (!is_tracked(fd)) return real(fd, parts, count);
  ssize_t total = 0;
  for (int i = 0; i < count; i++) {
    if (!parts[i].iov_len) continue;
    ssize_t n = write_any(fd, parts[i].iov_base, parts[i].iov_len, -1);
    if (n < 0) return total ? total : n;
    total += n;
    if ((size_t)n < parts[i].iov_len) break;
  }
  return total;
}

size_t fwrite(const void *data, size_t size, size_t count, FILE *file) {
  REAL(fwrite);
  if (!is_tracked(fileno(file))) return real(data, size, count, file);
  size_t done = 0, all = size * count;
  while (done < all) {
    ssize_t n =
        write_any(fileno(file), (const char *)data + done, all - done, -1);
    if (n < 0) break;
    done += n;
  }
  return size ? done / size : 0;
}

/* Python and TensorFlow then copy by reading and writing. */
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
  REAL(sendfile64);
  if (!is_tracked(out)) return real(out, in, offset, size);
  errno = ENOSYS;
  return -1;
}
ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
  return sendfile64(out, in, offset, size);
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to,
                        size_t size, unsigned flags) {
  REAL(copy_file_range);
  if (!is_tracked(out)) return real(in, from, out, to, size, flags);
  errno = ENOSYS;
  return -1;
}

int ftruncate(int fd, off_t size) {
  REAL(ftruncate);
  if (!is_tracked(fd)) return real(fd, size);
  LOCK;
  int result = refuse_file("write", fd) ? -1 : real(fd, size);
  if (!result) record(SIZE, fd, size, 0, 0, 0, 0);
  UNLOCK;
  return result;
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

static int sync_any(int (*real)(int), int fd) {
  if (!is_tracked(fd)) return real(fd);
  LOCK;
  int result = refuse_file("fsync", fd) ? -1 : real(fd);
  if (!result) record(FSYNC, fd, 0, 0, 0, 0, 0);
  UNLOCK;
  return result;
}
int fsync(int fd) {
  REAL(fsync);
  return sync_any(real, fd);
}
int fdatasync(int fd) {
  REAL(fdatasync);
  return sync_any(real, fd);
}

static void closed(int fd) {
  if (!is_tracked(fd)) return;
  tracked[fd] = 0;
  record(CLOSE, fd, 0, 0, 0, 0, 0);
}
int close(int fd) {
  REAL(close);
  LOCK;
  closed(fd);
  int result = real(fd);
  UNLOCK;
  return result;
}
int fclose(FILE *file) {
  REAL(fclose);
  LOCK;
  closed(fileno(file));
  int result = real(file);
  UNLOCK;
  return result;
}

static int rename_any(int from_folder, const char *from, int to_folder,
                      const char *to) {
  REAL(renameat);
  char old[PATH_MAX], new[PATH_MAX];
  if (!inside(from_folder, from, old) | !inside(to_folder, to, new))
    return real(from_folder, from, to_folder, to);
  LOCK;
  int result =
      refuse("rename", new) ? -1 : real(from_folder, from, to_folder, to);
  if (!result) record(RENAME, 0, 0, old, strlen(old), new, strlen(new));
  UNLOCK;
  return result;
}
int rename(const char *from, const char *to) {
  return rename_any(AT_FDCWD, from, AT_FDCWD, to);
}
int renameat(int from_folder, const char *from, int to_folder,
             const char *to) {
  return rename_any(from_folder, from, to_folder, to);
}

int unlinkat(int folder, const char *path, int flags) {
  REAL(unlinkat);
  char absolute[PATH_MAX];
  int is_inside = inside(folder, path, absolute);
  LOCK;
  int result = real(folder, path, flags);
  if (!result && is_inside)
    record(UNLINK, 0, 0, absolute, strlen(absolute), 0, 0);
  UNLOCK;
  return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
  int result = unlink(path);
  return result && errno == EISDIR ? rmdir(path) : result;
}

int mkdirat(int folder, const char *path, mode_t mode) {
  REAL(mkdirat);
  char absolute[PATH_MAX];
  if (!inside(folder, path, absolute)) return real(folder, path, mode);
  LOCK;
  int result = refuse("mkdir", absolute) ? -1 : real(folder, path, mode);
  if (!result) record(MKDIR, 0, 0, absolute, strlen(absolute), 0, 0);
  UNLOCK;
  return result;
}
int mkdir(const char *path, mode_t mode) {
  return mkdirat(AT_FDCWD, path, mode);
}

/* What Python calls. */

/* Begins with a folder; a log of NULL records nothing. */
int shim_begin(const char *folder, const char *log) {
  LOCK;
  root_length = 0;
  int fd = log ? open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
  memset(tracked, 0, sizeof tracked);
  log_file = fd;
  snprintf(root, sizeof root, "%s", folder);
  root_length = strlen(root);
  UNLOCK;
  return !log || fd >= 0;
}

void shim_end(void) {
  LOCK;
  root_length = 0;
  refused_call = is_full = 0;
  if (log_file >= 0) close(log_file);
  log_file = -1;
  UNLOCK;
}

void shim_mark(long number) {
  LOCK;
  record(MARK, number, 0, 0, 0, 0, 0);
  UNLOCK;
}

/* Lets a call fail, the first being 1; 0 none. Counts from here on. */
void shim_refuse(long call, int error) {
  LOCK;
  seen = 0;
  is_full = 0;
  refused_call = call;
  refused_error = error;
  refused[0] = 0;
  UNLOCK;
}

long shim_seen(void) { return seen; }

/* Returns what was refused, such as "rename /a/b"; empty if nothing was. */
const char *shim_refused(void) { return refused; }
