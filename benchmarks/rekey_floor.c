/* What a re-wrap in place asks of the system, and nothing else: no cryptography, no parsing, no Python.

   rekey_floor FOLDER < paths      paths relative to FOLDER, one a line

   The calls are those of iomt_crypt/archive/rekey_target.py and rekey_batch.py, in their order: 32 objects are opened,
   and while the next 32 are, 8 kB of each are read; a redo file for 512 of them; a syncfs in another thread while the
   next ones are read; then each is opened, locked, compared and overwritten with what was there. Prints the seconds
   it took. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 512, WINDOW = 32, HEAD = 8192, RECORD = 5120, OFFSET = 1672, REDO = 5300, SLOTS = 3, MOST = 1 << 20 };

static int folder, redo[SLOTS];
static char *paths[MOST], heads[SLOTS][BATCH][HEAD], entries[BATCH * REDO];
static struct stat status[SLOTS][BATCH];

static void check(int good, const char *what) {
    if (!good) { perror(what); exit(1); }
}

static void *sync_all(void *unused) {
    (void)unused;
    check(syncfs(folder) == 0, "syncfs");
    return NULL;
}

static void read_batch(int first, int count, int slot) {
    static int open_files[BATCH];
    for (int begin = 0; begin < count + WINDOW; begin += WINDOW) {
        for (int n = begin; n < begin + WINDOW && n < count; n++) {
            int fd = openat(folder, paths[first + n], O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOATIME);
            check(fd >= 0 && fstat(fd, &status[slot][n]) == 0, "open");
            posix_fadvise(fd, 0, 1 << 14, POSIX_FADV_WILLNEED);
            open_files[n] = fd;
        }
        for (int n = begin - WINDOW; n >= 0 && n < begin && n < count; n++)
            check(pread(open_files[n], heads[slot][n], HEAD, 0) == HEAD, "pread");
        for (int n = begin - WINDOW; n >= 0 && n < begin && n < count; n++) close(open_files[n]);
    }
    char name[64];
    snprintf(name, sizeof name, "redo%d.%d", slot, (int)getpid());
    redo[slot] = openat(folder, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (int n = 0; n < count; n++) memcpy(entries + n * REDO, heads[slot][n], REDO);
    check(write(redo[slot], entries, (size_t)count * REDO) == (ssize_t)count * REDO, "write");
}

static void apply_batch(int first, int count, int slot) {
    static char there[RECORD];
    for (int n = 0; n < count; n++) {
        int fd = openat(folder, paths[first + n], O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOATIME);
        struct stat now;
        check(fd >= 0 && flock(fd, LOCK_EX) == 0 && fstat(fd, &now) == 0, "open");
        char *record = heads[slot][n] + OFFSET;
        check(pread(fd, there, RECORD, OFFSET) == RECORD && memcmp(there, record, RECORD) == 0, "compare");
        check(pwrite(fd, record, RECORD, OFFSET) == RECORD, "pwrite");
        struct timespec times[2] = {now.st_atim, now.st_mtim};
        check(futimens(fd, times) == 0, "futimens");
        close(fd);
    }
}

static void forget(int slot) {
    char name[64];
    snprintf(name, sizeof name, "redo%d.%d", slot, (int)getpid());
    unlinkat(folder, name, 0);
    close(redo[slot]);
}

int main(int argc, char **argv) {
    static char line[4096];
    int count = 0;
    check(argc == 2 && (folder = open(argv[1], O_RDONLY | O_DIRECTORY)) >= 0, "folder");
    while (count < MOST && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        paths[count++] = strdup(line);
    }
    struct timespec began, ended;
    clock_gettime(CLOCK_MONOTONIC, &began);
    int batches = (count + BATCH - 1) / BATCH;
    pthread_t thread;
    for (int b = 0; b < batches + 2; b++) {
        /* batch b is read while b - 1 waits for its redo file, and b - 2 for its objects */
        int size = b < batches - 1 ? BATCH : count - (batches - 1) * BATCH;
        if (b < batches) read_batch(b * BATCH, size, b % SLOTS);
        if (b > 0) check(pthread_join(thread, NULL) == 0, "join");
        if (b > 1) forget((b - 2) % SLOTS);
        if (b > 0 && b <= batches) {
            int last = b - 1 < batches - 1 ? BATCH : count - (batches - 1) * BATCH;
            apply_batch((b - 1) * BATCH, last, (b - 1) % SLOTS);
        }
        if (b < batches + 1) check(pthread_create(&thread, NULL, sync_all, NULL) == 0, "thread");
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.6f\n", (double)(ended.tv_sec - began.tv_sec) + 1e-9 * (double)(ended.tv_nsec - began.tv_nsec));
    return 0;
}
