// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Any bytes for a manifest. What can be read can be written, and is the same when it is
 * read again. A good one is to begin with: -seed_inputs=
 */
#include <sys/stat.h>

#include "fuzz.h"
#include "vmferry.h"

static uint8_t *load(int fd, size_t *size)
{
	struct stat st;
	uint8_t *bytes;

	expect(!fstat(fd, &st));
	*size = st.st_size;
	bytes = malloc(*size);
	expect(bytes && pread(fd, bytes, *size, 0) == st.st_size);
	return bytes;
}

static void write_again(const struct vmferry_manifest *manifest)
{
	struct vmferry_manifest *again = NULL;
	size_t size, again_size;
	uint8_t *bytes, *again_bytes;
	int fd = vmferry_manifest_write(manifest), again_fd;

	expect(fd >= 0 && !vmferry_manifest_read(fd, &again));
	again_fd = vmferry_manifest_write(again);
	expect(again_fd >= 0);
	bytes = load(fd, &size);
	again_bytes = load(again_fd, &again_size);
	expect(size == again_size && !memcmp(bytes, again_bytes, size));
	free(bytes);
	free(again_bytes);
	close(fd);
	close(again_fd);
	vmferry_manifest_free(again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct vmferry_manifest *manifest;
	int lowest = lowest_free(), fd = memfd(data, size);

	if (!vmferry_manifest_read(fd, &manifest)) {
		write_again(manifest);
		vmferry_manifest_free(manifest);
	}
	close(fd);
	expect(lowest_free() == lowest);
	return 0;
}

/* Where a value begins, behind some place. */
static size_t find_value(const uint8_t *data, size_t size, size_t from)
{
	for (size_t i = from; i + 1 < size; i++) {
		if (strchr(":[,", data[i]) && data[i])
			return i + 1;
	}
	return size;
}

/* Bytes alone seldom leave JSON what it is: every other time a value becomes another. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	static const char *const values[] = {
		"0", "1", "-1", "2", "4096", "4294967295", "4294967296", "18446744073709551615",
		"18446744073709551616", "1.5", "null", "true", "[]", "{}", "\"\"", "\"mem0\"",
		"\"nvme\"", "\"0000:00:00.0\"", "\"\\u0000\"", "\"\\ud800\"",
	};
	const char *value = values[seed / 2 % (sizeof(values) / sizeof(values[0]))];
	size_t start = find_value(data, size, size ? seed / 64 % size : 0), end = start;
	size_t len = strlen(value);

	while (end < size && !strchr(",]}", data[end]))
		end++;
	if (seed % 2 || start == size || size - (end - start) + len > max_size)
		return LLVMFuzzerMutate(data, size, max_size);
	memmove(data + start + len, data + end, size - end);
	memcpy(data + start, value, len);
	return size - (end - start) + len;
}
