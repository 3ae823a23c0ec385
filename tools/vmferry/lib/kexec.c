// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Loading the next kernel, and what it is told.
 *
 * It is kexec_file_load() or nothing: to an image of kexec_load() the kernel gives no data
 * of the Kexec HandOver, and jumps there all the same. So all that was preserved would be
 * lost, without a word.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

#include <linux/kexec.h>

#include "util.h"
#include "vmferry.h"

#define CMDLINE "/proc/cmdline"
/* Far beyond what any architecture has. */
#define CMDLINE_MAX 0x100000u

/* ---- The image --------------------------------------------------------------------------- */

VMFERRY_PUBLIC int vmferry_kexec_load(int kernel, int initrd, const char *cmdline)
{
	unsigned long flags = initrd < 0 ? KEXEC_FILE_NO_INITRAMFS : 0;

	return syscall(SYS_kexec_file_load, kernel, initrd, strlen(cmdline) + 1, cmdline, flags) ?
	       -errno : 0;
}

VMFERRY_PUBLIC int vmferry_kexec_load_path(const char *kernel, const char *initrd,
					   const char *cmdline)
{
	CLEANUP_CLOSE int kernel_fd = open(kernel, O_RDONLY | O_CLOEXEC);
	CLEANUP_CLOSE int initrd_fd = -1;

	if (kernel_fd < 0)
		return -errno;
	if (initrd) {
		initrd_fd = open(initrd, O_RDONLY | O_CLOEXEC);
		if (initrd_fd < 0)
			return -errno;
	}
	return vmferry_kexec_load(kernel_fd, initrd_fd, cmdline);
}

VMFERRY_PUBLIC int vmferry_kexec_unload(void)
{
	return syscall(SYS_kexec_file_load, -1, -1, 0UL, NULL, (unsigned long)KEXEC_FILE_UNLOAD) ?
	       -errno : 0;
}

VMFERRY_PUBLIC const char *vmferry_kexec_reason(int err)
{
	switch (err) {
	case 0:
		return "it is loaded";
	case -ENOENT:
		return "there is no such file";
	case -EACCES:
		return "a file may not be read, or a security module is against it";
	case -EBADF:
		return "a file is not open for reading";
	case -ENOEXEC:
		return "it is no kernel image that this kernel can load: not for this "
		       "architecture, truncated, or built without CONFIG_RELOCATABLE";
	case -EPERM:
		return "CAP_SYS_BOOT is missing, kernel.kexec_load_disabled is set, "
		       "kernel.kexec_load_limit_reboot is used up, or the kernel is locked down "
		       "and the image not signed";
	case -EKEYREJECTED:
		return "the signature of the image was rejected";
	case -ENOKEY:
		return "the image is signed with a key that this kernel does not trust";
	case -EKEYEXPIRED:
		return "the image is signed with a key that has expired";
	case -EKEYREVOKED:
		return "the image is signed with a key that was revoked";
	case -EBADMSG:
		return "the signature of the image is damaged";
	case -ENODATA:
		return "the image is not signed, and has to be";
	case -ELIBBAD:
		return "the image is damaged where its signature is looked for";
	case -ENOPKG:
		return "the signature of the image is of a kind that this kernel was not built for";
	case -EBUSY:
		return "another kexec system call is under way, or a crash";
	case -EADDRNOTAVAIL:
		return "there is no room for it where it has to go: with kho=on that is the "
		       "scratch area of the Kexec HandOver, see kho_scratch=";
	case -ENOSYS:
		return "this kernel was built without CONFIG_KEXEC_FILE";
	case -ENOMEM:
		return "there is not enough memory for it";
	case -EINVAL:
		return "a file is empty or no regular file, the command line is too long for the "
		       "image, or it takes more than half of the memory";
	case -EFBIG:
		return "a file is larger than 4 GiB";
	case -ETXTBSY:
		return "a file is open for writing";
	case -EIO:
		return "a file could not be read to its end";
	case -EINTR:
		return "a signal came while it was loaded";
	default:
		return "the kernel's log may tell why";
	}
}

/* ---- The command line -------------------------------------------------------------------- */

/* One argument, in a command line. */
struct arg {
	const char *start, *end;	/* as it is written */
	const char *name;
	size_t name_len;
	const char *val;		/* NULL if there is no "=" */
	size_t val_len;
};

/* The kernel's table knows Latin-1's space that does not break, too. */
static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r') || (unsigned char)c == 0xa0;
}

/* As next_arg() of the kernel does it. Returns whether there is one. */
static bool next_arg(const char *pos, struct arg *arg)
{
	bool quoted, in_quote;
	size_t len, equals = 0;

	while (is_space(*pos))
		pos++;
	if (!*pos)
		return false;
	arg->start = pos;
	quoted = *pos == '"';
	if (quoted)
		pos++;
	in_quote = quoted;
	for (len = 0; pos[len] && (in_quote || !is_space(pos[len])); len++) {
		if (!equals && pos[len] == '=')
			equals = len;
		if (pos[len] == '"')
			in_quote = !in_quote;
	}
	arg->end = pos + len;

	/* One quotation mark at the end goes with one at the start, of the value or of all. */
	if (len && pos[len - 1] == '"' && (quoted || (equals && pos[equals + 1] == '"')))
		len--;
	arg->name = pos;
	arg->name_len = equals ?: len;
	arg->val = NULL;
	if (equals) {
		arg->val = pos + equals + 1;
		if (*arg->val == '"')
			arg->val++;
		arg->val_len = pos + len > arg->val ? pos + len - arg->val : 0;
	}
	return true;
}

/* What is behind it is for init. */
static bool is_last(const struct arg *arg)
{
	return !arg->val && arg->name_len == 2 && !memcmp(arg->name, "--", 2);
}

static char underscore(char c)
{
	return c == '-' ? '_' : c;
}

static bool is_name(const struct arg *arg, const char *name)
{
	size_t i;

	for (i = 0; i < arg->name_len; i++) {
		if (!name[i] || underscore(name[i]) != underscore(arg->name[i]))
			return false;
	}
	return !name[i];
}

/* As kstrtobool() of the kernel does it. Returns 0 or 1, or -EINVAL. */
static int to_bool(const char *val, size_t len)
{
	if (!len)
		return -EINVAL;
	if (strchr("eEyYtT1", val[0]))
		return 1;
	if (strchr("dDnNfF0", val[0]))
		return 0;
	if (len < 2 || !strchr("oO", val[0]))
		return -EINVAL;
	return strchr("nN", val[1]) ? 1 : strchr("fF", val[1]) ? 0 : -EINVAL;
}

VMFERRY_PUBLIC int vmferry_cmdline_bool(const char *cmdline, const char *name, bool *value)
{
	int ret = -ENOENT, val;
	struct arg arg;

	for (const char *pos = cmdline; next_arg(pos, &arg) && !is_last(&arg); pos = arg.end) {
		if (!is_name(&arg, name))
			continue;
		val = arg.val ? to_bool(arg.val, arg.val_len) : -EINVAL;
		if (val >= 0) {
			*value = val;
			ret = 0;
		} else if (ret) {
			/* The kernel complains, and leaves it as it was. */
			ret = val;
		}
	}
	return ret;
}

/* Of this boot, or of its boot loader, and wrong for the next one. */
static bool is_stale(const struct arg *arg)
{
	static const char *const names[] = {
		"BOOT_IMAGE",
		/* Where they were in memory, or on the boot loader's disk. */
		"initrd", "initrdmem",
		/* Of a kernel that was loaded for a crash, and of one to come back to. */
		"elfcorehdr", "dmcryptkeys", "kexec_jump_back_entry",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (arg->val && is_name(arg, names[i]))
			return true;
	}
	return false;
}

VMFERRY_PUBLIC int vmferry_cmdline_reuse(const char *cmdline, char **reused)
{
	const char *pos = cmdline;
	struct arg arg;
	size_t len = 0;
	/* It only gets shorter. */
	char *new = malloc(strlen(cmdline) + 1);

	if (!new)
		return -ENOMEM;
	while (next_arg(pos, &arg)) {
		pos = arg.end;
		/* The rest as it is. */
		if (is_last(&arg)) {
			pos += strlen(pos);
			while (is_space(pos[-1]))
				pos--;
			arg.end = pos;
			pos += strlen(pos);
		} else if (is_stale(&arg)) {
			continue;
		}
		if (len)
			new[len++] = ' ';
		memcpy(new + len, arg.start, arg.end - arg.start);
		len += arg.end - arg.start;
	}
	new[len] = 0;
	*reused = new;
	return 0;
}

/* Read a text of unknown length into memory. */
static int read_text(int fd, char **text)
{
	size_t size = 4096, len = 0;
	char *buf = malloc(size), *new;
	ssize_t part;

	if (!buf)
		return -ENOMEM;
	while ((part = read(fd, buf + len, size - len - 1))) {
		int err = part < 0 ? -errno : size >= CMDLINE_MAX ? -E2BIG : 0;

		if (err == -EINTR)
			continue;
		if (!err) {
			len += part;
			size *= 2;
			new = realloc(buf, size);
			if (new)
				buf = new;
			else
				err = -ENOMEM;
		}
		if (err) {
			free(buf);
			return err;
		}
	}
	buf[len] = 0;
	*text = buf;
	return 0;
}

VMFERRY_PUBLIC int vmferry_reuse_cmdline(char **cmdline)
{
	CLEANUP_CLOSE int fd = open(CMDLINE, O_RDONLY | O_CLOEXEC);
	char *text;
	int err;

	if (fd < 0)
		return -errno;
	err = read_text(fd, &text);
	if (err)
		return err;
	err = vmferry_cmdline_reuse(text, cmdline);
	free(text);
	return err;
}
