// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The manifest: what is written is read again, to the last bit, by this version and by
 * those to come; and what is damaged, in whatever place, is refused.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kselftest_harness.h"
#include "vmferry.h"

#define VM_ID "0f8fad5b-d9cb-469f-a165-70867728950e"
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define LIMIT (16u << 20)

/* What the library makes of some bytes. */
static int parse(const void *bytes, size_t len, struct vmferry_manifest **manifest)
{
	int fd = memfd_create("test", MFD_CLOEXEC), ret;

	if (fd < 0 || write(fd, bytes, len) != (ssize_t)len)
		abort();
	ret = vmferry_manifest_read(fd, manifest);
	close(fd);
	return ret;
}

static int refused(const char *text)
{
	struct vmferry_manifest *manifest = NULL;
	int ret = parse(text, strlen(text), &manifest);

	if (!ret)
		vmferry_manifest_free(manifest);
	return ret;
}

static char *load(int fd, size_t *len)
{
	struct stat st;
	char *text;

	if (fd < 0 || fstat(fd, &st))
		abort();
	text = malloc(st.st_size + 1);
	if (!text || pread(fd, text, st.st_size, 0) != st.st_size)
		abort();
	text[st.st_size] = 0;
	*len = st.st_size;
	return text;
}

/* The text with another in the place of a part of it, which has to be there. */
static char *replaced(const char *text, const char *from, const char *to)
{
	const char *at = strstr(text, from);
	char *new;

	if (!at || asprintf(&new, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)) < 0)
		abort();
	return new;
}

static int refused_with(const char *text, const char *from, const char *to)
{
	char *new = replaced(text, from, to);
	int ret = refused(new);

	free(new);
	return ret;
}

/* ---- What version 1.0 has written ------------------------------------------------------ */

FIXTURE(manifest) {
	char *text;
	size_t len;
	struct vmferry_manifest *manifest;
};

FIXTURE_SETUP(manifest)
{
	int fd = open(FIXTURES "/manifest-1.0.json", O_RDONLY | O_CLOEXEC);

	self->text = load(fd, &self->len);
	close(fd);
	ASSERT_EQ(0, parse(self->text, self->len, &self->manifest));
}

FIXTURE_TEARDOWN(manifest)
{
	vmferry_manifest_free(self->manifest);
	free(self->text);
}

static void expect_all(struct __test_metadata *_metadata, const struct vmferry_manifest *m,
		       uint32_t minor)
{
	static const char *const args[] = {
		"qemu-system-x86_64", "-name", "guest=web-1,debug-threads=on", "", "-append",
		"a \"b\"\\\t\n",
	};
	static const char *const abi[] = { "kho-v4", "luo-v5", "memfd-v2" };
	struct vmferry_manifest_info info;
	struct vmferry_manifest_file file;
	struct vmferry_manifest_device device;
	struct vmferry_manifest_map map;
	struct vmferry_manifest_time stamp;
	const char *text;

	ASSERT_EQ(0, vmferry_manifest_get_info(m, &info));
	EXPECT_EQ(1, info.version);
	EXPECT_EQ(minor, info.minor);
	EXPECT_STREQ(VM_ID, info.vm_id);
	EXPECT_STREQ("web-1 ä", info.vm_name);
	EXPECT_STREQ("11.1.3", info.qemu_version);
	EXPECT_STREQ("7.2.12-amd64", info.kernel_release);
	EXPECT_EQ(123456789012345, info.paused_ns);
	EXPECT_EQ(1790000000123456789, info.paused_real_ns);

	ASSERT_EQ(6, vmferry_manifest_nr_args(m));
	for (size_t i = 0; i < 6; i++) {
		ASSERT_EQ(0, vmferry_manifest_get_arg(m, i, &text));
		EXPECT_STREQ(args[i], text);
	}
	EXPECT_EQ(-ERANGE, vmferry_manifest_get_arg(m, 6, &text));
	ASSERT_EQ(3, vmferry_manifest_nr_abi(m));
	for (size_t i = 0; i < 3; i++) {
		ASSERT_EQ(0, vmferry_manifest_get_abi(m, i, &text));
		EXPECT_STREQ(abi[i], text);
	}
	EXPECT_EQ(-ERANGE, vmferry_manifest_get_abi(m, 3, &text));

	ASSERT_EQ(6, vmferry_manifest_nr_files(m));
	ASSERT_EQ(0, vmferry_manifest_get_file(m, 0, &file));
	EXPECT_STREQ("mem0", file.name);
	EXPECT_EQ(0, file.id);
	EXPECT_STREQ("memory", file.kind);
	EXPECT_TRUE(file.preserved);
	EXPECT_EQ(VMFERRY_TOKEN_MEMORY, file.token);
	/* What a floating point number does not have: 2^53 + 1 */
	EXPECT_EQ(9007199254740993, file.size);
	ASSERT_EQ(0, vmferry_manifest_get_file(m, 2, &file));
	EXPECT_STREQ("iommufd", file.kind);
	EXPECT_FALSE(file.preserved);
	EXPECT_EQ(0, file.token);
	EXPECT_EQ(0, file.size);
	ASSERT_EQ(0, vmferry_manifest_find_file(m, "0000:3b:00.1_interrupt", 0xffffffff, &file));
	EXPECT_STREQ("eventfd", file.kind);
	EXPECT_EQ(0xffffffff, file.id);
	EXPECT_EQ(-ENOENT, vmferry_manifest_find_file(m, "mem0", 1, &file));
	EXPECT_EQ(-ENOENT, vmferry_manifest_find_file(m, "mem", 0, &file));
	EXPECT_EQ(-ERANGE, vmferry_manifest_get_file(m, 6, &file));

	ASSERT_EQ(2, vmferry_manifest_nr_devices(m));
	ASSERT_EQ(0, vmferry_manifest_get_device(m, 0, &device));
	EXPECT_STREQ("0000:3b:00.1", device.name);
	EXPECT_STREQ("0000:3b:00.1", device.bdf);
	EXPECT_EQ(0x8086, device.vendor);
	EXPECT_EQ(0xffff, device.device);
	EXPECT_STREQ("vfio-pci", device.driver);
	EXPECT_EQ(VMFERRY_TOKEN_DEVICE, device.token);
	EXPECT_EQ(1, device.devid);
	EXPECT_EQ(2, device.ioas_id);
	EXPECT_EQ(0xffffffff, device.hwpt_id);
	EXPECT_EQ(2, device.irq_index);
	ASSERT_EQ(0, vmferry_manifest_get_device(m, 1, &device));
	EXPECT_STREQ("10000:e1:1f.7", device.bdf);
	EXPECT_EQ(UINT64_MAX, device.token);
	EXPECT_EQ(-1, device.irq_index);
	EXPECT_EQ(-ERANGE, vmferry_manifest_get_device(m, 2, &device));

	ASSERT_EQ(3, vmferry_manifest_nr_maps(m));
	ASSERT_EQ(0, vmferry_manifest_get_map(m, 1, &map));
	EXPECT_EQ(2, map.ioas_id);
	EXPECT_EQ(786432, map.iova);
	EXPECT_EQ(262144, map.length);
	EXPECT_EQ(0, map.offset);
	EXPECT_TRUE(map.read_only);
	EXPECT_STREQ("pc.bios", map.file);
	EXPECT_EQ(0, map.file_id);
	EXPECT_EQ(NULL, map.device);
	ASSERT_EQ(0, vmferry_manifest_get_map(m, 2, &map));
	EXPECT_EQ(0xfffffffffffff000, map.iova);
	EXPECT_EQ(4096, map.length);
	EXPECT_EQ(8192, map.offset);
	EXPECT_FALSE(map.read_only);
	EXPECT_EQ(NULL, map.file);
	EXPECT_STREQ("nvme", map.device);
	EXPECT_EQ(5, map.bar);
	EXPECT_EQ(-ERANGE, vmferry_manifest_get_map(m, 3, &map));

	ASSERT_EQ(2, vmferry_manifest_nr_times(m));
	ASSERT_EQ(0, vmferry_manifest_get_time(m, 1, &stamp));
	EXPECT_STREQ("stopped", stamp.name);
	EXPECT_EQ(UINT64_MAX, stamp.monotonic_ns);
	EXPECT_EQ(1ull << 63, stamp.real_ns);
	EXPECT_EQ(0, stamp.cycles);
	EXPECT_EQ(-ERANGE, vmferry_manifest_get_time(m, 2, &stamp));
}

TEST_F(manifest, older)
{
	expect_all(_metadata, self->manifest, 0);
}

TEST_F(manifest, written)
{
	struct vmferry_manifest *again;
	size_t len, other_len;
	char *text, *other;
	int fd, second;

	fd = vmferry_manifest_write(self->manifest);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vmferry_manifest_read(fd, &again));
	expect_all(_metadata, again, 1);
	/* The same every time, and more than once from the same file. */
	second = vmferry_manifest_write(again);
	ASSERT_LE(0, second);
	text = load(fd, &len);
	other = load(second, &other_len);
	EXPECT_EQ(len, other_len);
	EXPECT_STREQ(text, other);
	free(text);
	free(other);
	close(fd);
	close(second);
	vmferry_manifest_free(again);
}

TEST_F(manifest, sealed)
{
	int fd = vmferry_manifest_write(self->manifest);
	struct stat st;

	ASSERT_LE(0, fd);
	EXPECT_EQ(SEALS, fcntl(fd, F_GET_SEALS) & SEALS);
	EXPECT_TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	EXPECT_EQ(0, lseek(fd, 0, SEEK_CUR));
	ASSERT_EQ(0, fstat(fd, &st));
	EXPECT_EQ(-1, pwrite(fd, "x", 1, 0));
	EXPECT_EQ(EPERM, errno);
	EXPECT_EQ(-1, ftruncate(fd, 0));
	EXPECT_EQ(-1, ftruncate(fd, st.st_size + 1));
	EXPECT_EQ(-1, fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
	EXPECT_EQ(MAP_FAILED, mmap(NULL, st.st_size, PROT_WRITE, MAP_SHARED, fd, 0));
	close(fd);
}

/* Since 1.1: a stamp may have a count of cycles. One that has none says nothing of it. */
TEST_F(manifest, cycles)
{
	struct vmferry_manifest_time stamp = {
		.name = "jump", .monotonic_ns = 1, .real_ns = 2, .cycles = UINT64_MAX,
	};
	struct vmferry_manifest *again;
	const char *found;
	size_t len;
	char *text;
	int fd;

	ASSERT_EQ(0, vmferry_manifest_add_time(self->manifest, &stamp));
	fd = vmferry_manifest_write(self->manifest);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vmferry_manifest_read(fd, &again));
	text = load(fd, &len);
	close(fd);
	found = strstr(text, "\"cycles\"");
	ASSERT_NE(NULL, found);
	EXPECT_EQ(NULL, strstr(found + 1, "\"cycles\""));
	memset(&stamp, 0, sizeof(stamp));
	ASSERT_EQ(0, vmferry_manifest_get_time(again, 2, &stamp));
	EXPECT_STREQ("jump", stamp.name);
	EXPECT_EQ(UINT64_MAX, stamp.cycles);
	ASSERT_EQ(0, vmferry_manifest_get_time(again, 1, &stamp));
	EXPECT_EQ(0, stamp.cycles);
	vmferry_manifest_free(again);
	EXPECT_EQ(-EBADMSG, refused_with(text, "\"cycles\":18446744073709551615", "\"cycles\":-1"));
	EXPECT_EQ(-EBADMSG, refused_with(text, "\"cycles\":18446744073709551615",
					 "\"cycles\":\"1\""));
	free(text);
}

/* ---- Versions ------------------------------------------------------------------------ */

TEST_F(manifest, newer_minor)
{
	struct vmferry_manifest_info info;
	struct vmferry_manifest *manifest;
	char *text = replaced(self->text, "\"minor\": 0,", "\"minor\": 7, \"new\": [[{}, null]],");
	char *more = replaced(text, "\"vendor\": 32902",
			      "\"x\": { \"a\\\"99999999999999999999\": "
			      "-1.00000000000000000000001e30,"
			      "\"b\\\\\": \"99999999999999999999\" }, \"vendor\": 32902");

	ASSERT_EQ(0, parse(more, strlen(more), &manifest));
	ASSERT_EQ(0, vmferry_manifest_get_info(manifest, &info));
	EXPECT_EQ(7, info.minor);
	EXPECT_EQ(2, vmferry_manifest_nr_devices(manifest));
	vmferry_manifest_free(manifest);
	free(text);
	free(more);
}

TEST_F(manifest, newer_major)
{
	EXPECT_EQ(-EPROTONOSUPPORT, refused_with(self->text, "\"version\": 1", "\"version\": 2"));
	/* Whatever else is in it. */
	EXPECT_EQ(-EPROTONOSUPPORT, refused("{\"version\": 2}"));
	EXPECT_EQ(-EPROTONOSUPPORT, refused("{\"version\": 0}"));
	EXPECT_EQ(-EPROTONOSUPPORT, refused("{\"version\": 18446744073709551615}"));
	EXPECT_EQ(-EBADMSG, refused("{\"version\": 18446744073709551616}"));
	EXPECT_EQ(-EBADMSG, refused("{\"version\": -1}"));
	EXPECT_EQ(-EBADMSG, refused("{\"version\": \"1\"}"));
	EXPECT_EQ(-EBADMSG, refused("{\"version\": 1}"));
	EXPECT_EQ(-EBADMSG, refused("{}"));
}

/* ---- Damage ---------------------------------------------------------------------------- */

TEST_F(manifest, truncated)
{
	struct vmferry_manifest *manifest;

	/* The end has a brace and a line's end. */
	for (size_t len = 0; len < self->len - 1; len++) {
		EXPECT_EQ(-ENODATA, parse(self->text, len, &manifest)) {
			TH_LOG("after %zu bytes", len);
		}
	}
}

/* Each byte with another value: an error, or another manifest, and never anything worse. */
TEST_F(manifest, flipped)
{
	static const uint8_t flips[] = { 0x01, 0x02, 0x10, 0x80, 0xff };
	struct vmferry_manifest *manifest;
	unsigned int good = 0, bad = 0;

	for (size_t i = 0; i < self->len; i++) {
		for (size_t j = 0; j < sizeof(flips); j++) {
			int ret, fd;

			self->text[i] ^= flips[j];
			ret = parse(self->text, self->len, &manifest);
			self->text[i] ^= flips[j];
			if (ret) {
				bad++;
				EXPECT_TRUE(ret == -EBADMSG || ret == -ENODATA ||
					    ret == -EPROTONOSUPPORT) {
					TH_LOG("byte %zu: %d", i, ret);
				}
				continue;
			}
			good++;
			/* What can be read can be written. */
			fd = vmferry_manifest_write(manifest);
			EXPECT_LE(0, fd);
			close(fd);
			vmferry_manifest_free(manifest);
		}
	}
	EXPECT_LT(self->len, bad);
	EXPECT_LT(100, good);
}

/* Each byte gone, and each twice. */
TEST_F(manifest, shifted)
{
	struct vmferry_manifest *manifest;
	char *text = malloc(self->len + 1);

	for (size_t i = 0; i < self->len; i++) {
		memcpy(text, self->text, i);
		memcpy(text + i, self->text + i + 1, self->len - i - 1);
		if (!parse(text, self->len - 1, &manifest))
			vmferry_manifest_free(manifest);
		memcpy(text, self->text, i + 1);
		memcpy(text + i + 1, self->text + i, self->len - i);
		if (!parse(text, self->len + 1, &manifest))
			vmferry_manifest_free(manifest);
	}
	free(text);
}

TEST_F(manifest, other_content)
{
	struct vmferry_manifest *manifest;
	char deep[20000];

	EXPECT_EQ(-ENODATA, refused(""));
	EXPECT_EQ(-ENODATA, refused(" \n\t"));
	EXPECT_EQ(-EBADMSG, refused("null"));
	EXPECT_EQ(-EBADMSG, refused("1"));
	EXPECT_EQ(-EBADMSG, refused("[]"));
	EXPECT_EQ(-EBADMSG, refused("[{\"version\": 1}]"));
	EXPECT_EQ(-EBADMSG, refused("\"version\""));
	EXPECT_EQ(-EBADMSG, refused("version"));
	EXPECT_EQ(-EBADMSG, refused("\177ELF"));
	EXPECT_EQ(-EBADMSG, refused("{\"version\": 2} {}"));
	EXPECT_EQ(-EBADMSG, refused("{\"version\": 2}x"));
	EXPECT_EQ(-EBADMSG, parse("{\"version\": 2}\0", 15, &manifest));
	EXPECT_EQ(-EBADMSG, parse("\0{\"version\": 2}", 15, &manifest));
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = 0;
	EXPECT_EQ(-EBADMSG, refused(deep));
}

/* Everything that has to be there, by another name. */
TEST_F(manifest, keys_missing)
{
	static const char *const keys[] = {
		"version", "minor", "vm", "id", "name", "qemu", "argv", "kernel", "release", "abi",
		"pause", "monotonic_ns", "real_ns", "files", "kind", "devices", "bdf", "vendor",
		"driver", "devid", "hwpt_id", "maps", "ioas_id", "iova", "length", "offset",
		"read_only", "file", "file_id", "bar", "times",
	};
	char from[32], to[32];

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		snprintf(from, sizeof(from), "\"%s\":", keys[i]);
		snprintf(to, sizeof(to), "\"x%s\":", keys[i]);
		EXPECT_EQ(-EBADMSG, refused_with(self->text, from, to)) {
			TH_LOG("without %s", keys[i]);
		}
	}
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"device\": 65535", "\"x\": 65535"));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"device\": \"nvme\", ", ""));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"token\": 18446744073709551615, ", ""));
}

/* Each value as another type. */
TEST_F(manifest, wrong_types)
{
	static const char *const values[] = { "null", "[]", "{}", "\"1\"", "true", "1.0", "-1" };
	static const char *const fields[] = {
		"\"version\": 1", "\"minor\": 0", "\"id\": 0", "\"token\": 4096",
		"\"size\": 262144", "\"vendor\": 32902", "\"device\": 65535", "\"devid\": 1",
		"\"ioas_id\": 2", "\"hwpt_id\": 3", "\"irq_index\": 2", "\"iova\": 0",
		"\"length\": 262144", "\"offset\": 8192", "\"file_id\": 0", "\"bar\": 5",
		"\"monotonic_ns\": 123456789012345", "\"real_ns\": 1790000000123456789",
	};
	char to[64];

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		int key = strchr(fields[i], ':') - fields[i];

		for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
			snprintf(to, sizeof(to), "%.*s: %s", key, fields[i], values[j]);
			EXPECT_EQ(-EBADMSG, refused_with(self->text, fields[i], to)) {
				TH_LOG("%s", to);
			}
		}
	}
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"name\": \"mem0\"", "\"name\": 1"));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"kind\": \"memory\"", "\"kind\": null"));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"11.1.3\"", "11"));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"-name\"", "1"));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"-name\"", "null"));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"-name\"", "\"-na\\u0000me\""));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"kho-v4\"", "[]"));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"read_only\": true", "\"read_only\": 1"));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"read_only\": true",
					 "\"read_only\": \"true\""));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"times\": [", "\"times\": [ 1,"));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"maps\": [", "\"maps\": [ null,"));
	EXPECT_EQ(-EBADMSG, refused_with(self->text, "\"vm\": {", "\"vm\": [], \"x\": {"));
}

TEST_F(manifest, out_of_range)
{
	static const char *const changes[][2] = {
		{ "\"minor\": 0", "\"minor\": 4294967296" },
		{ "\"id\": 4294967295", "\"id\": 4294967296" },
		{ "\"vendor\": 32902", "\"vendor\": 65536" },
		{ "\"device\": 65535", "\"device\": 65536" },
		{ "\"hwpt_id\": 4294967295", "\"hwpt_id\": 4294967296" },
		{ "\"irq_index\": 2", "\"irq_index\": 2147483648" },
		{ "18446744073709551615", "18446744073709551616" },
		{ "18446744073709551615", "99999999999999999999999999999999" },
		{ "18446744073709551615", "-9223372036854775809" },
		{ "\"bar\": 5", "\"bar\": 6" },
		{ "\"token\": 4096", "\"token\": 0" },
		{ "\"token\": 18446744073709551615", "\"token\": 0" },
		{ "\"iova\": 18446744073709547520", "\"iova\": 18446744073709547521" },
		{ "\"offset\": 8192", "\"offset\": 18446744073709547520" },
		{ "\"length\": 786432", "\"length\": 0" },
		/* More than the file has. */
		{ "\"length\": 262144", "\"length\": 262145" },
		{ "0f8fad5b-d9cb", "0f8fad5b-d9cg" },
		{ "0f8fad5b-d9cb", "0f8fad5-bd9cb" },
		{ "\"bdf\": \"0000:3b:00.1\"", "\"bdf\": \"0000:3b:00.8\"" },
		{ "\"bdf\": \"0000:3b:00.1\"", "\"bdf\": \"3b:00.1\"" },
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		EXPECT_EQ(-EBADMSG, refused_with(self->text, changes[i][0], changes[i][1])) {
			TH_LOG("%s", changes[i][1]);
		}
	}
}

TEST_F(manifest, twice_or_nowhere)
{
	static const char *const changes[][2] = {
		/* A file, a device by name, by address and by token, a time, an ABI. */
		{ "\"name\": \"pc.bios\"", "\"name\": \"mem0\"" },
		{ "\"id\": 4294967295", "\"id\": 0" },
		{ "\"name\": \"nvme\"", "\"name\": \"0000:3b:00.1\"" },
		{ "10000:e1:1f.7", "0000:3B:00.1" },
		{ "\"token\": 18446744073709551615", "\"token\": 12288" },
		{ "\"name\": \"stopped\"", "\"name\": \"preserved\"" },
		{ "\"luo-v5\"", "\"kho-v4\"" },
		/* Maps that overlap, by one byte, too. */
		{ "\"iova\": 786432", "\"iova\": 786431" },
		{ "\"iova\": 18446744073709547520", "\"iova\": 0" },
		/* Of what is not there, of both, of none. */
		{ "\"file\": \"pc.bios\"", "\"file\": \"pc.rom\"" },
		{ "\"pc.bios\", \"file_id\": 0", "\"pc.bios\", \"file_id\": 1" },
		{ "\"device\": \"nvme\"", "\"device\": \"nvm\"" },
		{ "\"device\": \"nvme\"",
		  "\"device\": \"nvme\", \"file\": \"mem0\", \"file_id\": 0" },
		{ "\"file\": \"pc.bios\", \"file_id\": 0", "\"x\": 0" },
	};

	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		EXPECT_EQ(-EBADMSG, refused_with(self->text, changes[i][0], changes[i][1])) {
			TH_LOG("%s", changes[i][1]);
		}
	}
}

TEST_F(manifest, huge)
{
	struct vmferry_manifest *manifest;
	char *text = malloc(LIMIT + 1);
	int fd;

	/* As large as it may be, with spaces, and one byte more. */
	memcpy(text, self->text, self->len);
	memset(text + self->len, ' ', LIMIT + 1 - self->len);
	ASSERT_EQ(0, parse(text, LIMIT, &manifest));
	expect_all(_metadata, manifest, 0);
	vmferry_manifest_free(manifest);
	EXPECT_EQ(-E2BIG, parse(text, LIMIT + 1, &manifest));
	free(text);

	/* No more of it is read than that. */
	fd = memfd_create("test", MFD_CLOEXEC);
	ASSERT_EQ(0, ftruncate(fd, 1ll << 40));
	EXPECT_EQ(-E2BIG, vmferry_manifest_read(fd, &manifest));
	close(fd);
	fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
	EXPECT_EQ(-E2BIG, vmferry_manifest_read(fd, &manifest));
	close(fd);
}

TEST_F(manifest, no_file)
{
	struct vmferry_manifest *manifest;
	int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), fds[2];

	EXPECT_EQ(-EISDIR, vmferry_manifest_read(fd, &manifest));
	EXPECT_EQ(-EBADF, vmferry_manifest_read(-1, &manifest));
	close(fd);
	ASSERT_EQ(0, pipe(fds));
	EXPECT_EQ(-ESPIPE, vmferry_manifest_read(fds[0], &manifest));
	close(fds[0]);
	close(fds[1]);
}

/* ---- Made from nothing ----------------------------------------------------------------- */

FIXTURE(empty) {
	struct vmferry_manifest *m;
	struct vmferry_manifest_info info;
};

FIXTURE_SETUP(empty)
{
	ASSERT_EQ(0, vmferry_manifest_new(&self->m));
	self->info = (struct vmferry_manifest_info){
		.vm_id = VM_ID, .vm_name = "", .qemu_version = "11.1.3", .kernel_release = "7.2.12",
		.paused_ns = UINT64_MAX, .paused_real_ns = 1,
	};
}

FIXTURE_TEARDOWN(empty)
{
	vmferry_manifest_free(self->m);
	vmferry_manifest_free(NULL);
}

TEST_F(empty, info)
{
	struct vmferry_manifest_info info;
	struct vmferry_manifest *again;
	int fd;

	EXPECT_EQ(-ENODATA, vmferry_manifest_get_info(self->m, &info));
	EXPECT_EQ(-ENODATA, vmferry_manifest_write(self->m));
	ASSERT_EQ(0, vmferry_manifest_set_info(self->m, &self->info));
	fd = vmferry_manifest_write(self->m);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vmferry_manifest_read(fd, &again));
	close(fd);
	ASSERT_EQ(0, vmferry_manifest_get_info(again, &info));
	EXPECT_EQ(1, info.version);
	EXPECT_STREQ("", info.vm_name);
	EXPECT_EQ(UINT64_MAX, info.paused_ns);
	EXPECT_EQ(0, vmferry_manifest_nr_args(again));
	EXPECT_EQ(0, vmferry_manifest_nr_abi(again));
	EXPECT_EQ(0, vmferry_manifest_nr_files(again));
	EXPECT_EQ(0, vmferry_manifest_nr_devices(again));
	EXPECT_EQ(0, vmferry_manifest_nr_maps(again));
	EXPECT_EQ(0, vmferry_manifest_nr_times(again));
	/* One that was got can be set, also in the same manifest. */
	EXPECT_EQ(0, vmferry_manifest_set_info(again, &info));
	ASSERT_EQ(0, vmferry_manifest_get_info(again, &info));
	EXPECT_STREQ(VM_ID, info.vm_id);
	vmferry_manifest_free(again);
}

TEST_F(empty, wrong_info)
{
	static const char *const ids[] = {
		NULL, "", "vm", VM_ID "0", VM_ID "-", "0f8fad5bd9cb469fa16570867728950e",
		"0f8fad5b-d9cb-469f-a165-70867728950", "0f8fad5b_d9cb_469f_a165_70867728950e",
		"{f8fad5b-d9cb-469f-a165-70867728950}", "0f8fad5b-d9cb-469f-a16570-867728950e",
	};
	char name[VMFERRY_SESSION_NAME_MAX + 1];
	struct vmferry_manifest_info info;

	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		info = self->info;
		info.vm_id = ids[i];
		EXPECT_EQ(-EINVAL, vmferry_manifest_set_info(self->m, &info));
		EXPECT_EQ(-EINVAL, vmferry_vm_session_name(ids[i], name));
	}
	info = self->info;
	info.vm_name = NULL;
	EXPECT_EQ(-EINVAL, vmferry_manifest_set_info(self->m, &info));
	info = self->info;
	info.qemu_version = "";
	EXPECT_EQ(-EINVAL, vmferry_manifest_set_info(self->m, &info));
	info = self->info;
	info.kernel_release = "";
	EXPECT_EQ(-EINVAL, vmferry_manifest_set_info(self->m, &info));
	EXPECT_EQ(-ENODATA, vmferry_manifest_get_info(self->m, &info));
}

TEST_F(empty, session_name)
{
	char name[VMFERRY_SESSION_NAME_MAX + 1];

	ASSERT_EQ(0, vmferry_vm_session_name(VM_ID, name));
	EXPECT_STREQ("vm-0f8fad5bd9cb469fa16570867728950e", name);
	ASSERT_EQ(0, vmferry_vm_session_name("0F8FAD5B-D9CB-469F-A165-70867728950E", name));
	EXPECT_STREQ("vm-0f8fad5bd9cb469fa16570867728950e", name);
}

TEST_F(empty, texts)
{
	static const char *const good[] = {
		"", "a", "\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
		"\xee\x80\x80", "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf", "\x01\x1f",
		"</a>\\u0000\\",
	};
	static const char *const bad[] = {
		"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2x", "\xe0\x9f\xbf", "\xe0\xa0",
		"\xe1\x80", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80",
		"\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "a\xfe",
	};
	struct vmferry_manifest *again;
	char *longer = malloc(0x20001);
	const char *text;
	int fd;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		EXPECT_EQ(0, vmferry_manifest_add_arg(self->m, good[i]));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT_EQ(-EILSEQ, vmferry_manifest_add_arg(self->m, bad[i]));
	EXPECT_EQ(-EINVAL, vmferry_manifest_add_arg(self->m, NULL));
	memset(longer, 'x', 0x20000);
	longer[0x20000] = 0;
	EXPECT_EQ(-E2BIG, vmferry_manifest_add_arg(self->m, longer));
	/* What the kernel takes for an argument. */
	longer[0x1ffff] = 0;
	EXPECT_EQ(0, vmferry_manifest_add_arg(self->m, longer));

	ASSERT_EQ(0, vmferry_manifest_set_info(self->m, &self->info));
	fd = vmferry_manifest_write(self->m);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vmferry_manifest_read(fd, &again));
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		ASSERT_EQ(0, vmferry_manifest_get_arg(again, i, &text));
		EXPECT_STREQ(good[i], text);
	}
	close(fd);
	vmferry_manifest_free(again);
	free(longer);
}

TEST_F(empty, added_twice)
{
	struct vmferry_manifest_file file = {
		.name = "mem0", .kind = "memory", .preserved = true, .token = 0x1000,
		.size = 0x3000,
	};
	struct vmferry_manifest_device device = {
		.name = "dev", .bdf = "0000:00:04.0", .driver = "vfio-pci", .token = 0x3000,
		.irq_index = -1,
	};
	struct vmferry_manifest_map map = { .ioas_id = 1, .length = 0x1000, .file = "mem0" };
	struct vmferry_manifest_time stamp = { .name = "begin" };

	/* A map's file and device first. */
	EXPECT_EQ(-ENOENT, vmferry_manifest_add_map(self->m, &map));
	map.file = NULL;
	map.device = "dev";
	EXPECT_EQ(-ENOENT, vmferry_manifest_add_map(self->m, &map));

	EXPECT_EQ(0, vmferry_manifest_add_file(self->m, &file));
	EXPECT_EQ(-EEXIST, vmferry_manifest_add_file(self->m, &file));
	file.id = 1;
	EXPECT_EQ(0, vmferry_manifest_add_file(self->m, &file));
	file.id = 2;
	file.token = VMFERRY_TOKEN_MANIFEST;
	EXPECT_EQ(-EINVAL, vmferry_manifest_add_file(self->m, &file));
	file.token = 1;
	file.kind = "";
	EXPECT_EQ(-EINVAL, vmferry_manifest_add_file(self->m, &file));
	file.kind = "memory";
	file.name = "";
	EXPECT_EQ(-EINVAL, vmferry_manifest_add_file(self->m, &file));
	EXPECT_EQ(2, vmferry_manifest_nr_files(self->m));

	EXPECT_EQ(0, vmferry_manifest_add_device(self->m, &device));
	EXPECT_EQ(-EEXIST, vmferry_manifest_add_device(self->m, &device));
	device.name = "dev2";
	EXPECT_EQ(-EEXIST, vmferry_manifest_add_device(self->m, &device));
	device.bdf = "0000:00:05.0";
	EXPECT_EQ(-EEXIST, vmferry_manifest_add_device(self->m, &device));
	device.token = 0;
	EXPECT_EQ(-EINVAL, vmferry_manifest_add_device(self->m, &device));
	device.token = 0x3001;
	device.irq_index = -2;
	EXPECT_EQ(-EINVAL, vmferry_manifest_add_device(self->m, &device));
	device.irq_index = 2;
	EXPECT_EQ(0, vmferry_manifest_add_device(self->m, &device));
	EXPECT_EQ(2, vmferry_manifest_nr_devices(self->m));

	map.bar = 4;
	EXPECT_EQ(0, vmferry_manifest_add_map(self->m, &map));
	EXPECT_EQ(-EEXIST, vmferry_manifest_add_map(self->m, &map));
	map.iova = 0x1000;
	map.file = "mem0";
	EXPECT_EQ(-EINVAL, vmferry_manifest_add_map(self->m, &map));
	map.device = NULL;
	map.offset = 0x2001;
	EXPECT_EQ(-EINVAL, vmferry_manifest_add_map(self->m, &map));
	map.offset = 0x2000;
	EXPECT_EQ(0, vmferry_manifest_add_map(self->m, &map));
	map.iova = 0xfff;
	EXPECT_EQ(-EEXIST, vmferry_manifest_add_map(self->m, &map));
	/* Another address space. */
	map.ioas_id = 2;
	EXPECT_EQ(0, vmferry_manifest_add_map(self->m, &map));
	map.file = NULL;
	EXPECT_EQ(-EINVAL, vmferry_manifest_add_map(self->m, &map));
	EXPECT_EQ(3, vmferry_manifest_nr_maps(self->m));

	EXPECT_EQ(0, vmferry_manifest_add_time(self->m, &stamp));
	EXPECT_EQ(-EEXIST, vmferry_manifest_add_time(self->m, &stamp));
	EXPECT_EQ(0, vmferry_manifest_add_abi(self->m, "luo-v5"));
	EXPECT_EQ(-EEXIST, vmferry_manifest_add_abi(self->m, "luo-v5"));
	EXPECT_EQ(-EINVAL, vmferry_manifest_add_abi(self->m, ""));
	/* Arguments may be there twice. */
	EXPECT_EQ(0, vmferry_manifest_add_arg(self->m, "-device"));
	EXPECT_EQ(0, vmferry_manifest_add_arg(self->m, "-device"));
}

/* As many files and maps as there may be, in time, and one more of each. */
TEST_F(empty, many)
{
	struct vmferry_manifest_file file = { .name = "vector", .kind = "eventfd" };
	struct vmferry_manifest_map map = { .length = 0x1000, .file = "vector" };
	struct vmferry_manifest *again;
	int fd;

	ASSERT_EQ(0, vmferry_manifest_set_info(self->m, &self->info));
	for (uint32_t i = 0; i < 65536; i++) {
		file.id = i * 2654435761u;
		ASSERT_EQ(0, vmferry_manifest_add_file(self->m, &file));
		map.iova = (uint64_t)(i ^ 0x5555) << 12;
		ASSERT_EQ(0, vmferry_manifest_add_map(self->m, &map));
	}
	file.id = 1;
	EXPECT_EQ(-E2BIG, vmferry_manifest_add_file(self->m, &file));
	map.iova = 1ull << 50;
	EXPECT_EQ(-E2BIG, vmferry_manifest_add_map(self->m, &map));
	fd = vmferry_manifest_write(self->m);
	ASSERT_LE(0, fd);
	ASSERT_EQ(0, vmferry_manifest_read(fd, &again));
	EXPECT_EQ(65536, vmferry_manifest_nr_files(again));
	EXPECT_EQ(65536, vmferry_manifest_nr_maps(again));
	vmferry_manifest_free(again);
	close(fd);
}

/* What could not be read is not written. */
TEST_F(empty, too_large)
{
	char *text = malloc(0x1ffff);

	memset(text, 'x', 0x1fffe);
	text[0x1fffe] = 0;
	ASSERT_EQ(0, vmferry_manifest_set_info(self->m, &self->info));
	for (unsigned int i = 0; i < LIMIT / 0x20000; i++)
		ASSERT_EQ(0, vmferry_manifest_add_arg(self->m, text));
	EXPECT_EQ(-E2BIG, vmferry_manifest_write(self->m));
	free(text);
}

TEST_HARNESS_MAIN
