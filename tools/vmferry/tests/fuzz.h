/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the fuzzers share. They are for libFuzzer, and stop at what they find. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Of libFuzzer, which has no header in C. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static inline void expect(bool what)
{
	if (!what)
		abort();
}

/* The lowest number that is free: the same before and after, or a file was left open. */
static inline int lowest_free(void)
{
	int fd = dup(STDERR_FILENO);

	expect(fd >= 0);
	close(fd);
	return fd;
}

static inline int memfd(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	expect(fd >= 0 && write(fd, data, size) == (ssize_t)size);
	return fd;
}

#endif /* FUZZ_H */
