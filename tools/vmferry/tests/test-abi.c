// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Images of kernels: made-up ones in all compressions, with what is a format's name and
 * what only looks like it, damaged in all places; and a real one, if there is one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "kselftest_harness.h"
#include "vmferry.h"

#define SETUP (2 * 512)
#define OFFSET 0x40
#define BLOCK (8u << 20)
#define VERSION "7.2.12-amd64 (builder@host) #1 SMP PREEMPT_DYNAMIC (2026-10-01)"

struct bytes {
	uint8_t *at;
	size_t len;
};

static struct bytes new_bytes(size_t size)
{
	struct bytes bytes = { calloc(1, size), 0 };

	if (!bytes.at)
		abort();
	return bytes;
}

static void put(struct bytes *to, const void *from, size_t len)
{
	memcpy(to->at + to->len, from, len);
	to->len += len;
}

static void put_le32(struct bytes *to, uint32_t val)
{
	uint8_t le[] = { val, val >> 8, val >> 16, val >> 24 };

	put(to, le, sizeof(le));
}

static void set_le32(uint8_t *at, uint32_t val)
{
	struct bytes bytes = { at, 0 };

	put_le32(&bytes, val);
}

/* ---- What is compressed -------------------------------------------------------------- */

/* Text between NULs, as a compiler leaves it. */
static void put_text(struct bytes *kernel, const char *text)
{
	put(kernel, "", 1);
	put(kernel, text, strlen(text) + 1);
}

/* A handler's structure: a pointer, an array, the next field. */
static void put_handler(struct bytes *kernel, uint64_t pointer, const char *name, size_t size)
{
	put(kernel, "\1\2\3\4\5\6\7\x08", 8);
	put(kernel, &pointer, sizeof(pointer));
	put(kernel, name, strlen(name));
	kernel->len += size - strlen(name);
	put(kernel, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
}

#define POINTER 0xffffffff82345678

/* Something that can be compressed a little. */
static void put_noise(struct bytes *kernel, size_t len)
{
	uint32_t state = 1;

	for (size_t i = 0; i < len; i++) {
		state = state * 1664525 + 1013904223;
		kernel->at[kernel->len++] = state >> 24 & 0x8f;
	}
}

static struct bytes small_kernel(void)
{
	struct bytes kernel = new_bytes(0x10000);

	put(&kernel, "\x7f" "ELF", 4);
	put_noise(&kernel, 300);
	put_text(&kernel, "kho-v4");
	put_text(&kernel, "luo-v5");
	put_handler(&kernel, POINTER, "memfd-v2", 48);
	put_noise(&kernel, 300);
	return kernel;
}

/* ---- Compressions -------------------------------------------------------------------- */

static void pack_gzip(struct bytes *to, const struct bytes *kernel)
{
	z_stream z = {
		.next_in = kernel->at, .avail_in = kernel->len,
		.next_out = to->at + to->len, .avail_out = kernel->len + 0x1000,
	};

	/* Its own end has the size. */
	if (deflateInit2(&z, 1, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK ||
	    deflate(&z, Z_FINISH) != Z_STREAM_END)
		abort();
	to->len += z.total_out;
	deflateEnd(&z);
}

static void pack_lzma_with(struct bytes *to, const struct bytes *kernel, bool xz)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_options_lzma options;

	if (lzma_lzma_preset(&options, 0) ||
	    (xz ? lzma_easy_encoder(&stream, 0, LZMA_CHECK_CRC32) :
		  lzma_alone_encoder(&stream, &options)) != LZMA_OK)
		abort();
	stream.next_in = kernel->at;
	stream.avail_in = kernel->len;
	stream.next_out = to->at + to->len;
	stream.avail_out = kernel->len + 0x1000;
	if (lzma_code(&stream, LZMA_FINISH) != LZMA_STREAM_END)
		abort();
	to->len += stream.total_out;
	lzma_end(&stream);
	put_le32(to, kernel->len);
}

static void pack_xz(struct bytes *to, const struct bytes *kernel)
{
	pack_lzma_with(to, kernel, true);
}

static void pack_lzma(struct bytes *to, const struct bytes *kernel)
{
	pack_lzma_with(to, kernel, false);
}

static void pack_zstd(struct bytes *to, const struct bytes *kernel)
{
	size_t len = ZSTD_compress(to->at + to->len, ZSTD_compressBound(kernel->len), kernel->at,
				   kernel->len, 1);

	if (ZSTD_isError(len))
		abort();
	to->len += len;
	put_le32(to, kernel->len);
}

static void pack_lz4(struct bytes *to, const struct bytes *kernel)
{
	put_le32(to, 0x184c2102);
	for (size_t pos = 0; pos < kernel->len; pos += BLOCK) {
		size_t part = kernel->len - pos < BLOCK ? kernel->len - pos : BLOCK;
		int len = LZ4_compress_fast((char *)kernel->at + pos, (char *)to->at + to->len + 4,
					    part, LZ4_compressBound(part), 1);

		if (!len)
			abort();
		put_le32(to, len);
		to->len += len;
	}
	put_le32(to, kernel->len);
}

static void pack_none(struct bytes *to, const struct bytes *kernel)
{
	put(to, kernel->at, kernel->len);
}

static void (*const packs[])(struct bytes *to, const struct bytes *kernel) = {
	pack_gzip, pack_xz, pack_lzma, pack_zstd, pack_lz4, pack_none,
};

#define NR_PACKS (sizeof(packs) / sizeof(packs[0]))

/* ---- Images ---------------------------------------------------------------------------- */

/* All but the payload. */
static struct bytes new_image(size_t size)
{
	struct bytes image = new_bytes(SETUP + OFFSET + size);
	uint8_t *h = image.at;

	h[0x1f1] = SETUP / 512 - 1;
	memcpy(h + 0x1fe, "\x55\xaa", 2);
	memcpy(h + 0x202, "HdrS", 4);
	memcpy(h + 0x206, "\x0f\x02", 2);
	memcpy(h + 0x20e, "\x80\x00", 2);
	h[0x211] = 0x01;
	h[0x234] = 1;
	h[0x236] = 0x7f;
	set_le32(h + 0x238, 2047);
	set_le32(h + 0x248, OFFSET);
	set_le32(h + 0x260, 0x1234000);
	strcpy((char *)h + 0x280, VERSION);
	image.len = SETUP + OFFSET;
	return image;
}

static void end_image(struct bytes *image)
{
	set_le32(image->at + 0x24c, image->len - SETUP - OFFSET);
}

static struct bytes packed(const struct bytes *kernel, size_t pack)
{
	struct bytes image = new_image(2 * kernel->len + 0x10000);

	packs[pack](&image, kernel);
	end_image(&image);
	return image;
}

static int read_part(const struct bytes *bytes, size_t len, struct vmferry_image **image)
{
	int fd = memfd_create("test", MFD_CLOEXEC), ret;

	if (fd < 0 || write(fd, bytes->at, len) != (ssize_t)len)
		abort();
	ret = vmferry_image_read(fd, image);
	close(fd);
	return ret;
}

static int refused(const struct bytes *bytes)
{
	struct vmferry_image *image = NULL;
	int ret = read_part(bytes, bytes->len, &image);

	if (!ret)
		vmferry_image_free(image);
	return ret;
}

static void expect_abi(struct __test_metadata *_metadata, const struct vmferry_image *image,
		       size_t n, const char *name)
{
	const char *abi;

	ASSERT_EQ(0, vmferry_image_get_abi(image, n, &abi));
	EXPECT_STREQ(name, abi);
}

static void expect_small(struct __test_metadata *_metadata, const struct vmferry_image *image)
{
	const char *abi;

	ASSERT_EQ(3, vmferry_image_nr_abi(image));
	expect_abi(_metadata, image, 0, "kho-v4");
	expect_abi(_metadata, image, 1, "luo-v5");
	expect_abi(_metadata, image, 2, "memfd-v2");
	EXPECT_EQ(-ERANGE, vmferry_image_get_abi(image, 3, &abi));
}

FIXTURE(abi) {
	struct bytes kernel, bytes;
	struct vmferry_image *image;
};

FIXTURE_SETUP(abi)
{
	self->kernel = small_kernel();
	self->bytes = packed(&self->kernel, 0);
	self->image = NULL;
}

FIXTURE_TEARDOWN(abi)
{
	free(self->kernel.at);
	free(self->bytes.at);
	vmferry_image_free(self->image);
	vmferry_image_free(NULL);
}

#define READ() ASSERT_EQ(0, read_part(&self->bytes, self->bytes.len, &self->image))
/* Pack the kernel again, after something was added. */
#define REPACK(pack) do {						\
	free(self->bytes.at);						\
	self->bytes = packed(&self->kernel, pack);			\
} while (0)

TEST_F(abi, compressions)
{
	for (size_t i = 0; i < NR_PACKS; i++) {
		REPACK(i);
		READ();
		expect_small(_metadata, self->image);
		vmferry_image_free(self->image);
		self->image = NULL;
	}
}

/* More than the buffers, and for lz4 more than a block; the names at both ends. */
TEST_F(abi, large)
{
	for (size_t i = 0; i < NR_PACKS; i++) {
		size_t block = packs[i] == pack_lz4 ? BLOCK : 0x80000;

		free(self->kernel.at);
		self->kernel = new_bytes(block + 0x81000);
		put(&self->kernel, "\x7f" "ELF", 4);
		put_text(&self->kernel, "kho-v4");
		put_noise(&self->kernel, block - self->kernel.len - 18);
		/* Across the end of the block. */
		put_handler(&self->kernel, POINTER, "memfd-v2", 48);
		put_noise(&self->kernel, 0x80000);
		put(&self->kernel, "\0luo-v5", 8);
		REPACK(i);
		READ();
		expect_small(_metadata, self->image);
		vmferry_image_free(self->image);
		self->image = NULL;
	}
}

/* The library looks at 256 KiB and a bit at a time: in all places around the edge. */
TEST_F(abi, edges)
{
	for (unsigned int shift = 0; shift < 400; shift++) {
		free(self->kernel.at);
		self->kernel = new_bytes(0x41000);
		put(&self->kernel, "\x7f" "ELF", 4);
		self->kernel.len = 0x40000 - 200 + shift;
		put_handler(&self->kernel, POINTER, "memfd-v2", 48);
		put_text(&self->kernel, "kho-v4");
		put_text(&self->kernel, "luo-v5");
		self->kernel.len = 0x41000;
		REPACK(NR_PACKS - 1);
		READ();
		EXPECT_EQ(3, vmferry_image_nr_abi(self->image)) {
			TH_LOG("shifted by %u", shift);
		}
		vmferry_image_free(self->image);
		self->image = NULL;
	}
}

/* ---- Names ----------------------------------------------------------------------------- */

TEST_F(abi, names)
{
	put_text(&self->kernel, "luo-v10");
	put_text(&self->kernel, "luo-v5");
	put_text(&self->kernel, "memblock-v1");
	put_text(&self->kernel, "reserve-mem-v1");
	put_handler(&self->kernel, POINTER, "vfio-pci-v1", 48);
	put_handler(&self->kernel, POINTER, "guest_memfd-v999", 48);
	put_handler(&self->kernel, POINTER, "x-v1-v2", 48);
	/* As long as there is room for. */
	put_handler(&self->kernel, POINTER, "a23456789012345678901234567890123456789012345-v1"
		    + 1, 48);
	put_handler(&self->kernel, POINTER, "a2345678901234567890123456789012345678901234-v1", 48);
	REPACK(0);
	READ();
	ASSERT_EQ(10, vmferry_image_nr_abi(self->image));
	expect_abi(_metadata, self->image, 0, "a2345678901234567890123456789012345678901234-v1");
	expect_abi(_metadata, self->image, 1, "guest_memfd-v999");
	expect_abi(_metadata, self->image, 2, "kho-v4");
	expect_abi(_metadata, self->image, 3, "luo-v5");
	expect_abi(_metadata, self->image, 4, "luo-v10");
	expect_abi(_metadata, self->image, 5, "memblock-v1");
	expect_abi(_metadata, self->image, 6, "memfd-v2");
	expect_abi(_metadata, self->image, 7, "reserve-mem-v1");
	expect_abi(_metadata, self->image, 8, "vfio-pci-v1");
	expect_abi(_metadata, self->image, 9, "x-v1-v2");
}

TEST_F(abi, no_names)
{
	static const char *const texts[] = {
		"kho-v", "kho-v4x", "kho-4", "kho-v1234", "KHO-v1", "xkho-v4", "usage: kho-v4",
		"kho-v4\n", "luo -v5", "-v1", "1-v1", "pci-v1", "foo-v2", "memfd-v1", "kho-V4",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		put_text(&self->kernel, texts[i]);
	/* Prefixes, other pointers, other lengths. */
	put_handler(&self->kernel, POINTER, "pci-v", 48);
	put_handler(&self->kernel, 0, "a-v1", 48);
	put_handler(&self->kernel, 0xff00000000000000, "b-v1", 48);
	put_handler(&self->kernel, UINT64_MAX, "c-v1", 48);
	put_handler(&self->kernel, POINTER, "d-v1", 47);
	put_handler(&self->kernel, POINTER, "e-V1", 48);
	put_handler(&self->kernel, POINTER, "f g-v1", 48);
	put_handler(&self->kernel, 0xffffffff81203040, "h,i-v1", 48);
	REPACK(0);
	READ();
	expect_small(_metadata, self->image);
}

/* A kernel without live update has none of them. */
TEST_F(abi, none)
{
	self->kernel.len = 300;
	REPACK(0);
	READ();
	EXPECT_EQ(0, vmferry_image_nr_abi(self->image));
}

TEST_F(abi, too_many)
{
	char name[48];

	free(self->kernel.at);
	self->kernel = new_bytes(0x10000);
	for (unsigned int i = 0; i < 257; i++) {
		snprintf(name, sizeof(name), "f%u-v1", i);
		put_handler(&self->kernel, POINTER, name, 48);
	}
	REPACK(0);
	EXPECT_EQ(-E2BIG, refused(&self->bytes));
}

/* ---- The header ------------------------------------------------------------------------ */

TEST_F(abi, info)
{
	struct vmferry_image_info info;
	struct utsname running;

	READ();
	vmferry_image_get_info(self->image, &info);
	EXPECT_STREQ(VERSION, info.version);
	EXPECT_TRUE(info.relocatable);
	EXPECT_TRUE(info.loadable);
	EXPECT_EQ(2047, info.cmdline_size);
	EXPECT_EQ(0x1234000, info.init_size);

	EXPECT_TRUE(vmferry_image_is(self->image, "7.2.12-amd64",
				     "#1 SMP PREEMPT_DYNAMIC (2026-10-01)"));
	/* Built another time, or another one. */
	EXPECT_FALSE(vmferry_image_is(self->image, "7.2.12-amd64",
				      "#1 SMP PREEMPT_DYNAMIC (2026-10-02)"));
	EXPECT_FALSE(vmferry_image_is(self->image, "7.2.12-amd64", "(2026-10-01)"));
	EXPECT_FALSE(vmferry_image_is(self->image, "7.2.12",
				      "#1 SMP PREEMPT_DYNAMIC (2026-10-01)"));
	EXPECT_FALSE(vmferry_image_is(self->image, VERSION VERSION, VERSION VERSION));
	EXPECT_FALSE(vmferry_image_is(self->image, NULL, NULL));
	vmferry_image_free(self->image);

	ASSERT_EQ(0, uname(&running));
	snprintf((char *)self->bytes.at + 0x280, 256, "%s (a@b) %s", running.release,
		 running.version);
	READ();
	EXPECT_TRUE(vmferry_image_is(self->image, NULL, NULL));
}

TEST_F(abi, header)
{
	struct vmferry_image_info info;
	struct {
		size_t at;
		uint8_t val;
		int ret;
	} changes[] = {
		{ 0x1fe, 0x54, -ENOEXEC }, { 0x202, 'h', -ENOEXEC }, { 0x206, 0x0b, -ENOEXEC },
		{ 0x211, 0x00, -ENOEXEC },
		/* Where the payload is: elsewhere, behind the end, not there at all. */
		{ 0x248, OFFSET - 1, -EBADMSG }, { 0x24b, 0x7f, -ENODATA },
		{ 0x24e, 0x7f, -ENODATA }, { 0x24f, 0x80, -E2BIG }, { 0x1f1, 3, -ENODATA },
		{ 0x1f1, 0, -ENODATA },
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		uint8_t was = self->bytes.at[changes[i].at];

		self->bytes.at[changes[i].at] = changes[i].val;
		EXPECT_EQ(changes[i].ret, refused(&self->bytes)) {
			TH_LOG("%#zx", changes[i].at);
		}
		self->bytes.at[changes[i].at] = was;
	}
	set_le32(self->bytes.at + 0x24c, 7);
	EXPECT_EQ(-EBADMSG, refused(&self->bytes));
	end_image(&self->bytes);

	/* A version that does not end, that is elsewhere, and none. */
	memset(self->bytes.at + 0x280, 'x', 256);
	EXPECT_EQ(-EBADMSG, refused(&self->bytes));
	memset(self->bytes.at + 0x20e, 0xff, 2);
	EXPECT_EQ(0, refused(&self->bytes));
	memset(self->bytes.at + 0x20e, 0, 2);
	READ();
	vmferry_image_get_info(self->image, &info);
	EXPECT_STREQ("", info.version);
	EXPECT_FALSE(vmferry_image_is(self->image, "", ""));
	vmferry_image_free(self->image);

	/* Built without CONFIG_RELOCATABLE. */
	self->bytes.at[0x234] = 0;
	self->bytes.at[0x236] = 0x01;
	READ();
	vmferry_image_get_info(self->image, &info);
	EXPECT_FALSE(info.relocatable);
	EXPECT_FALSE(info.loadable);
}

TEST_F(abi, no_image)
{
	struct bytes text = { (uint8_t *)"no kernel", 9 };
	struct vmferry_image *image;
	int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);

	EXPECT_EQ(-ENOEXEC, refused(&text));
	text.len = 0;
	EXPECT_EQ(-ENOEXEC, refused(&text));
	EXPECT_EQ(-ENOEXEC, vmferry_image_read(fd, &image));
	close(fd);
	EXPECT_EQ(-EBADF, vmferry_image_read(-1, &image));
}

/* ---- Damage ------------------------------------------------------------------------------ */

TEST_F(abi, other_compressions)
{
	memcpy(self->bytes.at + SETUP + OFFSET, "BZh9", 4);
	EXPECT_EQ(-EOPNOTSUPP, refused(&self->bytes));
	memcpy(self->bytes.at + SETUP + OFFSET, "\x89LZO", 4);
	EXPECT_EQ(-EOPNOTSUPP, refused(&self->bytes));
	memcpy(self->bytes.at + SETUP + OFFSET, "abcd", 4);
	EXPECT_EQ(-EBADMSG, refused(&self->bytes));
}

TEST_F(abi, truncated)
{
	struct vmferry_image *image;

	for (size_t pack = 0; pack < NR_PACKS; pack++) {
		REPACK(pack);
		for (size_t len = 0; len < self->bytes.len; len++) {
			int ret = read_part(&self->bytes, len, &image);

			EXPECT_EQ(len < 0x264 ? -ENOEXEC : -ENODATA, ret) {
				TH_LOG("%zu after %zu bytes", pack, len);
			}
		}
		/* The payload ends too early, the file does not. */
		for (size_t len = 8; len < self->bytes.len - SETUP - OFFSET; len++) {
			set_le32(self->bytes.at + 0x24c, len);
			if (packs[pack] == pack_none)
				continue;
			EXPECT_EQ(-EBADMSG, refused(&self->bytes)) {
				TH_LOG("%zu of %zu bytes", pack, len);
			}
		}
	}
}

/* Each byte with another value: an error, or another kernel, and never anything worse. */
TEST_F(abi, flipped)
{
	static const uint8_t flips[] = { 0x01, 0x80, 0xff };

	for (size_t pack = 0; pack < NR_PACKS; pack++) {
		unsigned int bad = 0;

		REPACK(pack);
		for (size_t i = 0x1f1; i < self->bytes.len; i++) {
			for (size_t j = 0; j < sizeof(flips); j++) {
				self->bytes.at[i] ^= flips[j];
				bad += !!refused(&self->bytes);
				self->bytes.at[i] ^= flips[j];
			}
		}
		EXPECT_LT(20, bad);
	}
}

/* Larger than any that was compressed, and than the memory for it. */
TEST_F(abi, lz4_block)
{
	free(self->bytes.at);
	self->bytes = new_image(2 * BLOCK);
	put_le32(&self->bytes, 0x184c2102);
	put_le32(&self->bytes, LZ4_COMPRESSBOUND(BLOCK) + 1);
	self->bytes.len += 2 * BLOCK - 12;
	put_le32(&self->bytes, BLOCK);
	end_image(&self->bytes);
	EXPECT_EQ(-EBADMSG, refused(&self->bytes));
}

/* A few bytes that become more than there is memory for. */
TEST_F(abi, bomb)
{
	struct bytes kernel = { NULL, 513u << 20 };

	kernel.at = mmap(NULL, kernel.len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, kernel.at);
	free(self->bytes.at);
	self->bytes = new_image(0x100000);
	self->bytes.len += ZSTD_compress(self->bytes.at + self->bytes.len, 0x100000, kernel.at,
					 kernel.len, 1);
	put_le32(&self->bytes, kernel.len);
	end_image(&self->bytes);
	EXPECT_EQ(-E2BIG, refused(&self->bytes));
	munmap(kernel.at, kernel.len);
}

/* ---- Modules ----------------------------------------------------------------------------- */

static int add_modules(struct vmferry_image *image, const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC), ret;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		abort();
	ret = vmferry_image_add_modules(image, fd);
	close(fd);
	return ret;
}

TEST_F(abi, modules)
{
	char *longer = malloc(100001);
	int fd;

	READ();
	ASSERT_EQ(0, add_modules(self->image, ""));
	expect_small(_metadata, self->image);
	memset(longer, 'x', 100000);
	memcpy(longer, "alias liveupdate-", 17);
	memcpy(longer + 99990, "-v1 mod\n", 9);
	ASSERT_EQ(0, add_modules(self->image, longer));
	free(longer);
	ASSERT_EQ(0, add_modules(self->image,
				 "# Aliases extracted from modules themselves.\n"
				 "alias pci:v00008086d* e1000e\n"
				 "alias liveupdate-x e1000e\n"
				 "alias liveupdate-y-v e1000e\n"
				 "alias xliveupdate-y-v1 e1000e\n"
				 "xalias liveupdate-y-v1 e1000e\n\n\n"
				 "alias liveupdate-memfd-v2 memfd\n"
				 "alias liveupdate-"
				 "a23456789012345678901234567890123456789012345-v1 a\n"));
	expect_small(_metadata, self->image);
	ASSERT_EQ(0, add_modules(self->image, "alias liveupdate-vfio-pci-v1 vfio_pci\n"
					      "alias liveupdate-a-v1 a"));
	ASSERT_EQ(5, vmferry_image_nr_abi(self->image));
	expect_abi(_metadata, self->image, 0, "a-v1");
	expect_abi(_metadata, self->image, 4, "vfio-pci-v1");

	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(-E2BIG, vmferry_image_add_modules(self->image, fd));
	close(fd);
	EXPECT_EQ(-EBADF, vmferry_image_add_modules(self->image, -1));
}

/* ---- Two of them ------------------------------------------------------------------------- */

static struct vmferry_image *with(const char *const names[])
{
	struct bytes kernel = new_bytes(0x1000), bytes;
	struct vmferry_image *image;

	put(&kernel, "\x7f" "ELF\0\0\0\0", 8);
	for (; *names; names++)
		put_handler(&kernel, POINTER, *names, 48);
	bytes = packed(&kernel, NR_PACKS - 1);
	if (read_part(&bytes, bytes.len, &image))
		abort();
	free(kernel.at);
	free(bytes.at);
	return image;
}

TEST(differences)
{
	static const char *const old_names[] = {
		"kho-v4", "luo-v5", "luo-v6", "memfd-v2", "pci-v1", "vfio-pci-v9", "vfio-pci-v10",
		"same-v1", NULL
	};
	static const char *const new_names[] = {
		"kho-v4", "luo-v7", "luo-v5", "memfd-v3", "memfd-v2", "vfio-pci-v9", "same-v1",
		"more-v1", "pci-x-v1", NULL
	};
	static const char *const no_names[] = { NULL };
	struct vmferry_image *old = with(old_names), *new = with(new_names), *none = with(no_names);
	struct vmferry_image_difference d;

	/* Of what the old one can only read, luo-v5 and vfio-pci-v9, it is not told. */
	ASSERT_EQ(0, vmferry_image_get_difference(old, new, 0, &d));
	EXPECT_STREQ("luo-v6", d.writes);
	EXPECT_STREQ("luo-v7", d.reads);
	EXPECT_TRUE(d.always);
	ASSERT_EQ(0, vmferry_image_get_difference(old, new, 1, &d));
	EXPECT_STREQ("pci-v1", d.writes);
	EXPECT_EQ(NULL, d.reads);
	EXPECT_FALSE(d.always);
	ASSERT_EQ(0, vmferry_image_get_difference(old, new, 2, &d));
	EXPECT_STREQ("vfio-pci-v10", d.writes);
	EXPECT_STREQ("vfio-pci-v9", d.reads);
	EXPECT_EQ(-ERANGE, vmferry_image_get_difference(old, new, 3, &d));

	EXPECT_EQ(-ERANGE, vmferry_image_get_difference(old, old, 0, &d));
	EXPECT_EQ(-ERANGE, vmferry_image_get_difference(none, new, 0, &d));
	ASSERT_EQ(0, vmferry_image_get_difference(old, none, 0, &d));
	EXPECT_STREQ("kho-v4", d.writes);
	EXPECT_TRUE(d.always);
	EXPECT_EQ(0, vmferry_image_get_difference(old, none, 5, &d));
	EXPECT_EQ(-ERANGE, vmferry_image_get_difference(old, none, 6, &d));
	vmferry_image_free(old);
	vmferry_image_free(new);
	vmferry_image_free(none);
}

/* ---- A real one ---------------------------------------------------------------------------- */

/* The one that the test's environment tells, of a kernel with live update. */
TEST(real)
{
	static const char *const want[] = { "kho-v", "luo-v", "memfd-v" };
	const char *path = getenv("VMFERRY_IMAGE"), *abi;
	struct vmferry_image_info info;
	struct vmferry_image *image;
	int fd;

	if (!path)
		SKIP(return, "VMFERRY_IMAGE= is not set");
	fd = open(path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vmferry_image_read(fd, &image));
	close(fd);
	vmferry_image_get_info(image, &info);
	TH_LOG("%s", info.version);
	EXPECT_TRUE(info.relocatable);
	EXPECT_TRUE(info.loadable);
	for (size_t i = 0; i < 3; i++) {
		unsigned int found = 0;

		for (size_t n = 0; !vmferry_image_get_abi(image, n, &abi); n++)
			found += !strncmp(abi, want[i], strlen(want[i]));
		EXPECT_EQ(1, found);
	}
	/* All of them are a live update's. */
	EXPECT_GE(16, vmferry_image_nr_abi(image));
	vmferry_image_free(image);
}

TEST_HARNESS_MAIN
