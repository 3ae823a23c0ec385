// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Which formats of a live update's data a kernel knows, by its image.
 *
 * A kernel that does not know what it is given panics at its start, and nothing can be asked
 * before. But its formats have names with a version, which are in its image:
 *
 *  - Those of the Kexec HandOver, of the Live Update Orchestrator, and of memory that is
 *    reserved by name, are plain strings: "kho-v4", "luo-v5". Such a name could be that of
 *    anything, so that a list says which there are.
 *  - Those of the handlers for files, and of what is global to such files, stand in a
 *    structure each: a pointer into the kernel, then an array of 48 characters that the name
 *    does not fill. Nothing else looks like that, so that they need no list.
 *
 * The image is compressed. Of the running kernel it takes the image as well: /proc/kcore is
 * all of the memory, and closed under lockdown; in debugfs there is, if the kernel was built
 * with it, what it has handed over but not what it would; and sysfs has nothing. Whether an
 * image is that of the running kernel can be told by its version, which has the build's time.
 */
#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/utsname.h>

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "util.h"
#include "vmferry.h"

/* Of the boot protocol of x86. */
#define SECTOR 512
#define SETUP_SECTS 0x1f1
#define BOOT_FLAG 0x1fe
#define MAGIC 0x202
#define PROTOCOL 0x206
#define KERNEL_VERSION 0x20e
#define LOADFLAGS 0x211
#define RELOCATABLE 0x234
#define XLOADFLAGS 0x236
#define CMDLINE_SIZE 0x238
#define PAYLOAD_OFFSET 0x248
#define PAYLOAD_LENGTH 0x24c
#define INIT_SIZE 0x260
#define HEADER_END 0x264

#define LOADED_HIGH 0x01
/* A 64-bit kernel that can be loaded above 4 GiB. */
#define XLF_KEXEC 0x03

/* Many times what a kernel has. */
#define PAYLOAD_MAX (512ull << 20)
#define OUTPUT_MAX (512ull << 20)
/* A dictionary has up to 128 MiB. */
#define XZ_MEMORY_MAX (256ull << 20)
#define VERSION_SIZE 256

#define LZ4_BLOCK (8u << 20)

/* LIVEUPDATE_HNDL_COMPAT_LENGTH and LIVEUPDATE_FLB_COMPAT_LENGTH of the kernel. */
#define NAME_SIZE 48
#define NAMES_MAX 256u

struct vmferry_image {
	struct vmferry_image_info info;
	char version[VERSION_SIZE];
	char (*names)[NAME_SIZE];
	size_t nr;
};

/* ---- Names ------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
	return c >= 'a' && c <= 'z';
}

/* How long the part in front of the version is, or 0 if it is no name. */
static size_t part_len(const char *name)
{
	const char *pos = strrchr(name, '-');
	size_t digits;

	if (!pos || !is_letter(name[0]) || pos[1] != 'v')
		return 0;
	digits = strspn(pos + 2, "0123456789");
	if (!digits || digits > 3 || pos[2 + digits])
		return 0;
	for (const char *c = name; c < pos; c++) {
		if (!is_letter(*c) && !is_digit(*c) && *c != '-' && *c != '_')
			return 0;
	}
	return pos - name;
}

static unsigned long version_of(const char *name)
{
	return strtoul(name + part_len(name) + 2, NULL, 10);
}

static bool same_part(const char *a, const char *b)
{
	size_t len = part_len(a);

	return len == part_len(b) && !memcmp(a, b, len);
}

/* By their parts, and those of one part by their numbers. */
static int compare_names(const void *a, const void *b)
{
	size_t len = part_len(a), other_len = part_len(b);
	int order = memcmp(a, b, len < other_len ? len : other_len);

	if (!order)
		order = (len > other_len) - (len < other_len);
	if (!order)
		order = (version_of(a) > version_of(b)) - (version_of(a) < version_of(b));
	return order ?: strcmp(a, b);
}

static bool has_name(const struct vmferry_image *image, const char *name)
{
	for (size_t i = 0; i < image->nr; i++) {
		if (!strcmp(image->names[i], name))
			return true;
	}
	return false;
}

static int add_name(struct vmferry_image *image, const char *name)
{
	int err;

	if (has_name(image, name))
		return 0;
	if (image->nr >= NAMES_MAX)
		return -E2BIG;
	err = grow(&image->names, image->nr, sizeof(*image->names));
	if (err)
		return err;
	strcpy(image->names[image->nr++], name);
	return 0;
}

static void sort_names(struct vmferry_image *image)
{
	if (image->nr)
		qsort(image->names, image->nr, sizeof(*image->names), compare_names);
}

/* ---- What comes out ---------------------------------------------------------------------- */

/* What a name at the edge of what is looked at may have before and behind it. */
#define BEFORE 64
#define BEHIND 64

struct output {
	struct vmferry_image *image;
	uint64_t total;
	size_t len;
	uint8_t buf[BEFORE + 0x40000 + BEHIND];
};

static bool is_printable(uint8_t c)
{
	return c >= 0x20 && c < 0x7f;
}

/* The formats that no structure has. */
static bool is_plain(const char *name)
{
	static const char *const parts[] = { "kho-v1", "luo-v1", "memblock-v1", "reserve-mem-v1" };

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (same_part(name, parts[i]))
			return true;
	}
	return false;
}

/* Behind a pointer into the kernel, and alone in its array. */
static bool is_in_structure(const uint8_t *start, size_t len)
{
	uint64_t pointer;

	memcpy(&pointer, start - sizeof(pointer), sizeof(pointer));
	if (le64toh(pointer) < 0xffffffff80000000 || le64toh(pointer) == UINT64_MAX)
		return false;
	for (size_t i = len; i < NAME_SIZE; i++) {
		if (start[i])
			return false;
	}
	return true;
}

/* A name is looked for around its "-v". */
static int look_at(struct vmferry_image *image, const uint8_t *pos)
{
	char name[NAME_SIZE];
	const uint8_t *start = pos;
	size_t len;

	while (pos - start < NAME_SIZE && is_printable(start[-1]))
		start--;
	len = strnlen((const char *)start, NAME_SIZE);
	if (len >= NAME_SIZE)
		return 0;
	memcpy(name, start, len + 1);
	if (!part_len(name))
		return 0;
	return is_plain(name) || is_in_structure(start, len) ? add_name(image, name) : 0;
}

/* Look at all but the edges, and keep these. */
static int look(struct output *out)
{
	const uint8_t *pos = out->buf + BEFORE, *end = out->buf + out->len - BEHIND;
	int err;

	while (pos < end) {
		pos = memmem(pos, end - pos + 1, "-v", 2);
		if (!pos)
			break;
		err = look_at(out->image, pos);
		if (err)
			return err;
		pos++;
	}
	memmove(out->buf, end - BEFORE, BEFORE + BEHIND);
	out->len = BEFORE + BEHIND;
	return 0;
}

static void output_init(struct output *out, struct vmferry_image *image)
{
	out->image = image;
	out->total = 0;
	memset(out->buf, 0, BEFORE);
	out->len = BEFORE;
}

static int output_add(struct output *out, const uint8_t *bytes, size_t len)
{
	out->total += len;
	if (out->total > OUTPUT_MAX)
		return -E2BIG;
	while (len) {
		size_t part = sizeof(out->buf) - out->len;

		if (!part) {
			int err = look(out);

			if (err)
				return err;
			continue;
		}
		if (part > len)
			part = len;
		memcpy(out->buf + out->len, bytes, part);
		out->len += part;
		bytes += part;
		len -= part;
	}
	return 0;
}

static int output_end(struct output *out)
{
	static const uint8_t zeros[BEHIND];
	uint64_t total = out->total;
	int err = output_add(out, zeros, sizeof(zeros));

	out->total = total;
	return err ?: look(out);
}

/* ---- What goes in ------------------------------------------------------------------------ */

/* A part of a file. */
struct input {
	int fd;
	uint64_t pos, end;
};

/* Returns how much, 0 at the end of the part; before that the file must not end. */
static ssize_t input_some(struct input *in, void *buf, size_t len)
{
	ssize_t part;

	if (len > in->end - in->pos)
		len = in->end - in->pos;
	if (!len)
		return 0;
	do {
		part = pread(in->fd, buf, len, in->pos);
	} while (part < 0 && errno == EINTR);
	if (part <= 0)
		return part ? -errno : -ENODATA;
	in->pos += part;
	return part;
}

static int input_all(struct input *in, void *buf, size_t len)
{
	while (len) {
		ssize_t part = input_some(in, buf, len);

		if (part <= 0)
			return part ?: -EBADMSG;
		buf = (char *)buf + part;
		len -= part;
	}
	return 0;
}

static int input_le32(struct input *in, uint32_t *val)
{
	int err = input_all(in, val, sizeof(*val));

	*val = le32toh(*val);
	return err;
}

/* ---- Decompression ----------------------------------------------------------------------- */

/* For a step of it: what goes in, and room for what comes out. */
struct buffers {
	const uint8_t *in;
	size_t in_len;
	uint8_t *out;
	size_t out_len;
};

/* A step returns 1 at the end of the data, and 0 before that. */
struct format {
	int (*begin)(void *state);
	int (*step)(void *state, struct buffers *bufs);
	void (*end)(void *state);
};

static int gzip_begin(void *state)
{
	z_stream *z = state;

	*z = (z_stream){};
	/* With a header of gzip. */
	return inflateInit2(z, 16 + MAX_WBITS) == Z_OK ? 0 : -ENOMEM;
}

static int gzip_step(void *state, struct buffers *bufs)
{
	z_stream *z = state;
	int ret;

	z->next_in = (uint8_t *)bufs->in;
	z->avail_in = bufs->in_len;
	z->next_out = bufs->out;
	z->avail_out = bufs->out_len;
	ret = inflate(z, Z_NO_FLUSH);
	bufs->in = z->next_in;
	bufs->in_len = z->avail_in;
	bufs->out_len = z->avail_out;
	switch (ret) {
	case Z_STREAM_END:
		return 1;
	case Z_OK:
	case Z_BUF_ERROR:
		return 0;
	case Z_MEM_ERROR:
		return -ENOMEM;
	default:
		return -EBADMSG;
	}
}

static void gzip_end(void *state)
{
	inflateEnd(state);
}

static int xz_begin(void *state)
{
	lzma_stream *xz = state;

	*xz = (lzma_stream)LZMA_STREAM_INIT;
	return lzma_stream_decoder(xz, XZ_MEMORY_MAX, 0) == LZMA_OK ? 0 : -ENOMEM;
}

static int lzma_begin(void *state)
{
	lzma_stream *xz = state;

	*xz = (lzma_stream)LZMA_STREAM_INIT;
	return lzma_alone_decoder(xz, XZ_MEMORY_MAX) == LZMA_OK ? 0 : -ENOMEM;
}

static int xz_step(void *state, struct buffers *bufs)
{
	lzma_stream *xz = state;
	lzma_ret ret;

	xz->next_in = bufs->in;
	xz->avail_in = bufs->in_len;
	xz->next_out = bufs->out;
	xz->avail_out = bufs->out_len;
	ret = lzma_code(xz, LZMA_RUN);
	bufs->in = xz->next_in;
	bufs->in_len = xz->avail_in;
	bufs->out_len = xz->avail_out;
	switch (ret) {
	case LZMA_STREAM_END:
		return 1;
	case LZMA_OK:
	case LZMA_BUF_ERROR:
		return 0;
	case LZMA_MEM_ERROR:
		return -ENOMEM;
	case LZMA_MEMLIMIT_ERROR:
		return -E2BIG;
	default:
		return -EBADMSG;
	}
}

static void xz_end(void *state)
{
	lzma_end(state);
}

static int zstd_begin(void *state)
{
	ZSTD_DStream **zstd = state;

	*zstd = ZSTD_createDStream();
	return *zstd ? 0 : -ENOMEM;
}

static int zstd_step(void *state, struct buffers *bufs)
{
	ZSTD_DStream **zstd = state;
	ZSTD_inBuffer in = { .src = bufs->in, .size = bufs->in_len };
	ZSTD_outBuffer out = { .dst = bufs->out, .size = bufs->out_len };
	size_t ret = ZSTD_decompressStream(*zstd, &out, &in);

	bufs->in += in.pos;
	bufs->in_len -= in.pos;
	bufs->out_len -= out.pos;
	if (!ZSTD_isError(ret))
		return !ret;
	switch (ZSTD_getErrorCode(ret)) {
	case ZSTD_error_memory_allocation:
		return -ENOMEM;
	case ZSTD_error_frameParameter_windowTooLarge:
		return -E2BIG;
	default:
		return -EBADMSG;
	}
}

static void zstd_end(void *state)
{
	ZSTD_DStream **zstd = state;

	ZSTD_freeDStream(*zstd);
}

static const struct format gzip = { gzip_begin, gzip_step, gzip_end };
static const struct format xz = { xz_begin, xz_step, xz_end };
static const struct format lzma = { lzma_begin, xz_step, xz_end };
static const struct format zstd = { zstd_begin, zstd_step, zstd_end };

static int step_all(const struct format *format, void *state, struct input *in,
		    struct output *out)
{
	uint8_t from[0x4000], to[0x8000];
	struct buffers bufs = {};

	for (;;) {
		ssize_t some = 1;
		int ret, err;

		if (!bufs.in_len) {
			some = input_some(in, from, sizeof(from));
			if (some < 0)
				return some;
			bufs.in = from;
			bufs.in_len = some;
		}
		bufs.out = to;
		bufs.out_len = sizeof(to);
		ret = format->step(state, &bufs);
		if (ret < 0)
			return ret;
		err = output_add(out, to, sizeof(to) - bufs.out_len);
		if (err || ret)
			return err;
		/* It wants more, and there is no more. */
		if (!some && bufs.out_len == sizeof(to))
			return -EBADMSG;
	}
}

static int decompress(const struct format *format, struct input *in, struct output *out)
{
	union {
		z_stream z;
		lzma_stream xz;
		ZSTD_DStream *zstd;
	} state;
	int err = format->begin(&state);

	if (err)
		return err;
	err = step_all(format, &state, in, out);
	format->end(&state);
	return err;
}

/* The old form of its frames: blocks with their size in front, and no end. */
static int decompress_lz4(struct input *in, struct output *out, uint32_t total)
{
	uint32_t size = 0, bound = LZ4_COMPRESSBOUND(LZ4_BLOCK);
	uint32_t room = total < LZ4_BLOCK ? total : LZ4_BLOCK;
	char *from, *to;
	int err, len;

	if (bound > in->end - in->pos)
		bound = in->end - in->pos;
	from = malloc(bound);
	to = malloc(room + 1);
	err = from && to ? input_le32(in, &size) : -ENOMEM;
	/* Behind the last one is the size of it all. */
	while (!err && in->end - in->pos > sizeof(uint32_t)) {
		err = input_le32(in, &size);
		if (!err && size > bound)
			err = -EBADMSG;
		if (!err)
			err = input_all(in, from, size);
		if (err)
			break;
		len = LZ4_decompress_safe(from, to, size, room);
		err = len < 0 ? -EBADMSG : output_add(out, (uint8_t *)to, len);
	}
	free(from);
	free(to);
	return err;
}

static int copy(struct input *in, struct output *out)
{
	uint8_t buf[0x8000];
	ssize_t some;
	int err = 0;

	while (!err && (some = input_some(in, buf, sizeof(buf)))) {
		if (some < 0)
			return some;
		err = output_add(out, buf, some);
	}
	return err;
}

static bool begins(const uint8_t *bytes, const char *with, size_t len)
{
	return !memcmp(bytes, with, len);
}

static int extract(struct input *in, struct output *out)
{
	struct input start = *in, end = { .fd = in->fd, .pos = in->end - 4, .end = in->end };
	uint8_t first[8];
	uint32_t size = 0;
	int err = input_all(&start, first, sizeof(first));

	/* Whatever the compression is, what comes out has its size behind it. */
	if (!err)
		err = input_le32(&end, &size);
	if (err)
		return err;
	if (begins(first, "\x7f" "ELF", 4))
		return copy(in, out);
	if (begins(first, "\x1f\x8b", 2))
		err = decompress(&gzip, in, out);
	else if (begins(first, "\xfd" "7zXZ\0", 6))
		err = decompress(&xz, in, out);
	else if (begins(first, "\x5d\0\0", 3))
		err = decompress(&lzma, in, out);
	else if (begins(first, "\x28\xb5\x2f\xfd", 4))
		err = decompress(&zstd, in, out);
	else if (begins(first, "\x02\x21\x4c\x18", 4))
		err = decompress_lz4(in, out, size);
	else if (begins(first, "BZh", 3) || begins(first, "\x89LZO", 4))
		return -EOPNOTSUPP;
	else
		return -EBADMSG;
	return err ?: out->total == size ? 0 : -EBADMSG;
}

/* ---- The image --------------------------------------------------------------------------- */

static uint16_t get_le16(const uint8_t *bytes)
{
	return bytes[0] | bytes[1] << 8;
}

static uint32_t get_le32(const uint8_t *bytes)
{
	return get_le16(bytes) | (uint32_t)get_le16(bytes + 2) << 16;
}

static int get_version(struct vmferry_image *image, int fd, const uint8_t *header, size_t setup)
{
	uint32_t offset = get_le16(header + KERNEL_VERSION);
	struct input in = { .fd = fd, .pos = 0x200 + offset, .end = setup };
	size_t len;
	int err;

	/* It may have none. */
	if (!offset || in.pos >= in.end)
		return 0;
	len = in.end - in.pos < VERSION_SIZE ? in.end - in.pos : VERSION_SIZE;
	err = input_all(&in, image->version, len);
	if (err)
		return err;
	for (len = 0; len < VERSION_SIZE && is_printable(image->version[len]); len++)
		;
	if (len == VERSION_SIZE || image->version[len])
		return -EBADMSG;
	return 0;
}

/* As the kernel does, when it is to load it. */
static int get_header(struct vmferry_image *image, int fd, struct input *payload)
{
	struct input in = { .fd = fd, .end = HEADER_END };
	uint8_t header[HEADER_END];
	size_t setup;
	int err = input_all(&in, header, sizeof(header));

	if (err)
		return err == -ENODATA ? -ENOEXEC : err;
	if (memcmp(header + MAGIC, "HdrS", 4) || get_le16(header + BOOT_FLAG) != 0xaa55 ||
	    get_le16(header + PROTOCOL) < 0x020c || !(header[LOADFLAGS] & LOADED_HIGH))
		return -ENOEXEC;
	setup = ((header[SETUP_SECTS] ?: 4) + 1) * SECTOR;
	image->info = (struct vmferry_image_info){
		.version = image->version,
		.relocatable = header[RELOCATABLE],
		.loadable = (get_le16(header + XLOADFLAGS) & XLF_KEXEC) == XLF_KEXEC,
		.cmdline_size = get_le32(header + CMDLINE_SIZE),
		.init_size = get_le32(header + INIT_SIZE),
	};
	payload->fd = fd;
	payload->pos = setup + (uint64_t)get_le32(header + PAYLOAD_OFFSET);
	payload->end = payload->pos + get_le32(header + PAYLOAD_LENGTH);
	if (payload->end - payload->pos > PAYLOAD_MAX)
		return -E2BIG;
	if (payload->end - payload->pos < 8)
		return -EBADMSG;
	return get_version(image, fd, header, setup);
}

VMFERRY_PUBLIC void vmferry_image_free(struct vmferry_image *image)
{
	if (!image)
		return;
	free(image->names);
	free(image);
}

static void image_cleanup(struct vmferry_image **image)
{
	vmferry_image_free(*image);
}

VMFERRY_PUBLIC int vmferry_image_read(int fd, struct vmferry_image **image)
{
	__attribute__((cleanup(image_cleanup))) struct vmferry_image *new = NULL;
	struct input payload;
	struct output *out;
	int err;

	new = calloc(1, sizeof(*new));
	if (!new)
		return -ENOMEM;
	err = get_header(new, fd, &payload);
	if (err)
		return err;
	out = malloc(sizeof(*out));
	if (!out)
		return -ENOMEM;
	output_init(out, new);
	err = extract(&payload, out);
	if (!err)
		err = output_end(out);
	free(out);
	if (err)
		return err;
	sort_names(new);
	*image = new;
	new = NULL;
	return 0;
}

/* One line of modules.alias: alias liveupdate-NAME MODULE */
static int add_alias(struct vmferry_image *image, char *line)
{
	static const char prefix[] = "alias liveupdate-";
	char *name = line + strlen(prefix);

	if (strncmp(line, prefix, strlen(prefix)))
		return 0;
	name[strcspn(name, " ")] = 0;
	return strlen(name) < NAME_SIZE && part_len(name) ? add_name(image, name) : 0;
}

VMFERRY_PUBLIC int vmferry_image_add_modules(struct vmferry_image *image, int fd)
{
	struct input in = { .fd = fd, .end = PAYLOAD_MAX };
	char line[128], buf[0x4000];
	size_t len = 0;
	ssize_t some;
	int err = 0;

	while (!err && (some = input_some(&in, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < some && !err; i++) {
			/* What a longer line has more is of no interest. */
			if (buf[i] != '\n') {
				if (len < sizeof(line) - 1)
					line[len++] = buf[i];
				continue;
			}
			line[len] = 0;
			len = 0;
			err = add_alias(image, line);
		}
	}
	line[len] = 0;
	if (!err)
		err = add_alias(image, line);
	sort_names(image);
	/* Its end is what a part of a file does not have. */
	return err ?: some == -ENODATA ? 0 : some ?: -E2BIG;
}

VMFERRY_PUBLIC void vmferry_image_get_info(const struct vmferry_image *image,
					   struct vmferry_image_info *info)
{
	*info = image->info;
}

VMFERRY_PUBLIC bool vmferry_image_is(const struct vmferry_image *image, const char *release,
				     const char *version)
{
	const char *has = image->version;
	size_t len, has_len = strlen(has);
	struct utsname running;

	if (!release) {
		if (uname(&running))
			return false;
		release = running.release;
		version = running.version;
	}
	/* RELEASE (BUILDER@HOST) VERSION */
	len = strlen(release);
	if (strncmp(has, release, len) || strncmp(has + len, " (", 2))
		return false;
	len = strlen(version);
	return has_len > len + 2 && !strcmp(has + has_len - len, version) &&
	       !memcmp(has + has_len - len - 2, ") ", 2);
}

VMFERRY_PUBLIC size_t vmferry_image_nr_abi(const struct vmferry_image *image)
{
	return image->nr;
}

VMFERRY_PUBLIC int vmferry_image_get_abi(const struct vmferry_image *image, size_t n,
					 const char **abi)
{
	if (n >= image->nr)
		return -ERANGE;
	*abi = image->names[n];
	return 0;
}

static const char *newest(const struct vmferry_image *image, const char *like)
{
	const char *found = NULL;

	/* They are sorted. */
	for (size_t i = 0; i < image->nr; i++) {
		if (same_part(image->names[i], like))
			found = image->names[i];
	}
	return found;
}

VMFERRY_PUBLIC int vmferry_image_get_difference(const struct vmferry_image *from,
						const struct vmferry_image *to, size_t n,
						struct vmferry_image_difference *difference)
{
	for (size_t i = 0; i < from->nr; i++) {
		const char *name = from->names[i];

		/* Of those that it can read it writes the newest. */
		if (newest(from, name) != name || has_name(to, name) || n--)
			continue;
		*difference = (struct vmferry_image_difference){
			.writes = name, .reads = newest(to, name),
			.always = same_part(name, "kho-v1") || same_part(name, "luo-v1"),
		};
		return 0;
	}
	return -ERANGE;
}
