// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Any bytes for a kernel's image. The first one tells what the others are: the file, what
 * is compressed in it, or what comes out of that.
 */
#include <errno.h>

#include <lz4.h>
#include <zlib.h>
#include <zstd.h>

#include "fuzz.h"
#include "vmferry.h"

#define SETUP (2 * 512)

static void set_le32(uint8_t *at, uint32_t val)
{
	for (unsigned int i = 0; i < 4; i++)
		at[i] = val >> 8 * i;
}

/* A file with this payload. */
static size_t make_image(uint8_t *to, const uint8_t *payload, size_t size)
{
	memset(to, 0, SETUP);
	to[0x1f1] = 1;
	memcpy(to + 0x1fe, "\x55\xaa", 2);
	memcpy(to + 0x202, "HdrS\x0f\x02", 6);
	memcpy(to + 0x20e, "\x80\0", 2);
	to[0x211] = 1;
	set_le32(to + 0x24c, size);
	memcpy(to + 0x280, "7.2.12 (a@b) #1", 15);
	memcpy(to + SETUP, payload, size);
	return SETUP + size;
}

static void check(const struct vmferry_image *image)
{
	struct vmferry_image_difference difference;
	struct vmferry_image_info info;
	const char *abi;
	size_t n;

	vmferry_image_get_info(image, &info);
	expect(strlen(info.version) < 256);
	for (n = 0; !vmferry_image_get_abi(image, n, &abi); n++)
		expect(strlen(abi) >= 4 && strlen(abi) < 48);
	expect(n == vmferry_image_nr_abi(image));
	/* A kernel understands itself. */
	expect(vmferry_image_get_difference(image, image, 0, &difference) == -ERANGE);
}

/* The file that the bytes stand for. */
static uint8_t *make_file(const uint8_t *data, size_t size, size_t *file_size)
{
	uint8_t *file = malloc(SETUP + size);
	uint8_t *kernel;

	expect(file);
	switch (data[0] % 3) {
	case 0:
		memcpy(file, data + 1, size - 1);
		*file_size = size - 1;
		break;
	case 1:
		*file_size = make_image(file, data + 1, size - 1);
		break;
	default:
		/* As if it were not compressed. */
		kernel = malloc(size);
		expect(kernel);
		memcpy(kernel, data, size);
		if (size >= 4)
			memcpy(kernel, "\x7f" "ELF", 4);
		*file_size = make_image(file, kernel, size);
		free(kernel);
		break;
	}
	return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	int lowest = lowest_free(), fd;
	struct vmferry_image *image;
	uint8_t *file;

	if (!size)
		return 0;
	file = make_file(data, size, &size);
	fd = memfd(file, size);
	free(file);
	if (!vmferry_image_read(fd, &image)) {
		check(image);
		/* Any bytes for a list of modules as well. */
		if (!vmferry_image_add_modules(image, fd))
			check(image);
		vmferry_image_free(image);
	}
	close(fd);
	expect(lowest_free() == lowest);
	return 0;
}

static size_t make_gzip(uint8_t *to, size_t max_size, const uint8_t *from, size_t size)
{
	z_stream z = {
		.next_in = (uint8_t *)from, .avail_in = size, .next_out = to, .avail_out = max_size,
	};

	expect(deflateInit2(&z, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) == Z_OK);
	expect(deflate(&z, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

static size_t make_lz4(uint8_t *to, size_t max_size, const uint8_t *from, size_t size)
{
	int len = LZ4_compress_default((const char *)from, (char *)to + 8, size, max_size - 12);

	expect(len > 0);
	set_le32(to, 0x184c2102);
	set_le32(to + 4, len);
	set_le32(to + 8 + len, size);
	return len + 12;
}

static size_t make_zstd(uint8_t *to, size_t max_size, const uint8_t *from, size_t size)
{
	size_t len = ZSTD_compress(to, max_size - 4, from, size, 1);

	expect(!ZSTD_isError(len));
	set_le32(to + len, size);
	return len + 4;
}

/* What has nothing in it becomes a good one of some kind first. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned int seed)
{
	static const uint8_t kernel[] =
		"\x7f" "ELF....\0kho-v4\0luo-v5\0\x80\x40\x20\x81\xff\xff\xff\xff"
		/* 48 bytes */
		"vfio-pci-v1"
		"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
		"\0\0\0\0\0"
		"\xff\nalias liveupdate-a-v1 a\n";
	uint8_t payload[512];
	size_t len = sizeof(payload);

	if (size >= 8 || max_size < SETUP + sizeof(payload) + 1)
		return LLVMFuzzerMutate(data, size, max_size);
	switch (seed % 4) {
	case 0:
		len = make_gzip(payload, len, kernel, sizeof(kernel));
		break;
	case 1:
		len = make_lz4(payload, len, kernel, sizeof(kernel));
		break;
	case 2:
		len = make_zstd(payload, len, kernel, sizeof(kernel));
		break;
	default:
		len = sizeof(kernel);
		memcpy(payload, kernel, len);
		break;
	}
	data[0] = seed / 4 % 2;
	if (data[0]) {
		memcpy(data + 1, payload, len);
		size = len + 1;
	} else {
		size = make_image(data + 1, payload, len) + 1;
	}
	return LLVMFuzzerMutate(data, size, max_size);
}
