/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvmferry: what a virtual machine monitor needs for a live update of its host.
 *
 * Functions return 0, or a file descriptor or a number where that is said, and a negative
 * errno on failure. They print nothing, keep no global state, and leave what the caller
 * gave them as it was when they fail. File descriptors that they return are close-on-exec
 * and belong to the caller. A handle is for one thread at a time.
 */
#ifndef VMFERRY_H
#define VMFERRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Sessions of the kernel's Live Update Orchestrator (LUO) ----------------------------- */

/* Longest name of a session, without its terminating NUL. */
#define VMFERRY_SESSION_NAME_MAX 63

/*
 * /dev/liveupdate can be open once. It is held for one ioctl only, so that systemd and
 * others get at it; while someone else has it, it is tried again with growing pauses
 * for up to @timeout_ms milliseconds, and then the result is -EBUSY.
 *
 * -ENOENT  the kernel has no live update, or it is off (kho=on liveupdate=on)
 * -EIO     the kernel could not read what the last one left, see its log
 */

/*
 * A new session, to which things are added before the kernel is replaced. Closing it
 * gives them all back. Returns its file descriptor.
 *
 * -EEXIST        there is one of this name
 * -EINVAL        the name is empty
 * -ENAMETOOLONG  the name is too long
 */
int vmferry_session_create(const char *name, unsigned int timeout_ms);

/*
 * A session that the previous kernel left. Closing it finishes it: what was not retrieved
 * is lost. So whoever may crash gives a duplicate to somebody who does not, before the
 * first retrieve. Returns its file descriptor.
 *
 * -ENOENT  there is none of this name
 * -EINVAL  it was retrieved before
 */
int vmferry_session_retrieve(const char *name, unsigned int timeout_ms);

enum vmferry_direction {
	VMFERRY_OUTGOING,	/* for the next kernel: preserve */
	VMFERRY_INCOMING,	/* of the previous kernel: retrieve, finish */
};

/*
 * Which of the two is it? Nothing changes. Returns an enum vmferry_direction.
 *
 * -ENOTTY  it is no session
 */
int vmferry_session_direction(int session);

/*
 * Name of a session, into @name of VMFERRY_SESSION_NAME_MAX + 1 bytes.
 *
 * -ENOTTY  it is no session
 */
int vmferry_session_name(int session, char *name);

/*
 * Preserve a file under a token, which is unique in its session. For a device, after the
 * memfds of its memory. The kernel's log tells why a device was refused.
 */
int vmferry_session_preserve(int session, int fd, uint64_t token);

/*
 * Get a file back, once. Its memory is charged to the control group of the caller: call
 * it from that of the virtual machine. Returns the file descriptor.
 */
int vmferry_session_retrieve_fd(int session, uint64_t token);

/*
 * The session is done with: what was not retrieved is given up.
 *
 * -EBUSY  a device is not retrieved, or not attached yet
 */
int vmferry_session_finish(int session);

/* ---- Devices ----------------------------------------------------------------------------- */

/* A new iommufd. Returns its file descriptor. */
int vmferry_iommufd_open(void);

/* A new address space in it, whose id goes to @ioas_id. */
int vmferry_ioas_alloc(int iommufd, uint32_t *ioas_id);

struct vmferry_map {
	uint64_t iova;		/* where the devices see it */
	uint64_t length;	/* in bytes */
	int fd;			/* a memfd, or a dma-buf of a BAR */
	uint64_t offset;	/* in it, in bytes */
	bool read_only;		/* the devices may not write to it */
};

/*
 * Map a piece of a file, where it has to be. What a retrieved device had mapped is to be
 * mapped before it is attached: then it does not notice that it moves.
 */
int vmferry_ioas_map(int iommufd, uint32_t ioas_id, const struct vmferry_map *map);

/* What an address space has mapped at an address: where it came from. */
struct vmferry_area {
	uint64_t iova, length;	/* in bytes */
	enum vmferry_area_kind {
		VMFERRY_AREA_PROCESS,	/* memory of a process, by its address */
		VMFERRY_AREA_FILE,
		VMFERRY_AREA_DMABUF,
	} kind;
	bool readable, writable;	/* by the devices */
	uint64_t start;		/* in the file, in bytes, or the address in the process */
	dev_t dev;		/* st_dev and st_ino of the file; no other one has them */
	ino_t ino;
};

/*
 * Ask what an address space maps, of an iommufd that somebody else has set up. *@areas is
 * to be freed with free(). What is mapped meanwhile may be missing.
 *
 * -EOPNOTSUPP  the kernel cannot tell
 * -ENOENT      there is no such address space
 */
int vmferry_ioas_areas(int iommufd, uint32_t ioas_id, struct vmferry_area **areas, size_t *nr);

/*
 * A dma-buf of a part of a device's BAR, so that other devices can be given it, with
 * vmferry_ioas_map(). The device is bound. Returns its file descriptor.
 */
int vmferry_device_dmabuf(int device, uint32_t bar, uint64_t offset, uint64_t length);

/* Bind the file of a vfio device to an iommufd, whose id of it goes to @devid. */
int vmferry_device_bind(int device, int iommufd, uint32_t *devid);

/*
 * Attach a bound device to an address space or a page table. The id of the page table it
 * is on goes to @hwpt_id. For a retrieved device this is where it leaves the page table of
 * the previous kernel.
 */
int vmferry_device_attach(int device, uint32_t pt_id, uint32_t *hwpt_id);

/*
 * Have the interrupts of one kind (VFIO_PCI_MSIX_IRQ_INDEX ...) signal eventfds, one for
 * each vector; a negative one is left out. Interrupts that came while the kernel was
 * replaced are lost: give eventfds that start at 1, so that the guest looks for itself.
 * With a @count of 0 the interrupts are off.
 */
int vmferry_device_set_irqs(int device, uint32_t index, const int *eventfds, uint32_t count);

/* ---- QEMU's CPR channel ------------------------------------------------------------------ */

/*
 * The state that QEMU sends through the channel of type "cpr" of a migration in mode
 * cpr-transfer: files by name, and the ids that iommufd has given to vfio devices.
 */
struct vmferry_cpr;

struct vmferry_cpr_fd {
	const char *name;	/* of a memory backend, an iommufd, a device, ... */
	uint32_t id;		/* of several of this name: a vector */
	int fd;			/* belongs to the state */
};

struct vmferry_cpr_vfio {
	const char *name;	/* of the device, as among the files */
	uint32_t devid;
	uint32_t ioas_id;
	uint32_t hwpt_id;
};

/*
 * An empty state. -ENOMEM. To be freed with vmferry_cpr_free(). Without a vfio device it is
 * written as QEMU 10.0 does, which newer ones read as well.
 */
int vmferry_cpr_new(struct vmferry_cpr **cpr);

/* Free a state and close its files. NULL is fine. */
void vmferry_cpr_free(struct vmferry_cpr *cpr);

/*
 * Read a state from a connected UNIX stream socket, up to where the peer has shut it
 * down. QEMU goes on with the migration, and stops the guest, when the socket is closed:
 * until then it runs.
 *
 * -ENODATA          the stream ends too early
 * -EBADMSG          it is no CPR state, or damaged; files are not where they should be
 * -EPROTONOSUPPORT  a version, or a part of the state, that is not known
 * -E2BIG            absurdly many or long entries
 * -EMFILE           more files than this process may have open (RLIMIT_NOFILE): there is one
 *                   for each interrupt vector of each device
 */
int vmferry_cpr_receive(int sock, struct vmferry_cpr **cpr);

/*
 * Write a state as the source of a migration would, and shut the socket down for
 * writing. The files of the state stay open.
 */
int vmferry_cpr_send(int sock, const struct vmferry_cpr *cpr);

/* How many files, and the nth: -ERANGE if there is none. */
size_t vmferry_cpr_nr_fds(const struct vmferry_cpr *cpr);
int vmferry_cpr_get_fd(const struct vmferry_cpr *cpr, size_t n, struct vmferry_cpr_fd *fd);

/* Find a file by name and id. Returns it, still of the state, or -ENOENT. */
int vmferry_cpr_find_fd(const struct vmferry_cpr *cpr, const char *name, uint32_t id);

/*
 * Add a file, or put another in the place of the one that has this name and id. It
 * belongs to the state from then on; if this fails, still to the caller.
 */
int vmferry_cpr_set_fd(struct vmferry_cpr *cpr, const char *name, uint32_t id, int fd);

/* The same for vfio devices, by name. */
size_t vmferry_cpr_nr_vfio(const struct vmferry_cpr *cpr);
int vmferry_cpr_get_vfio(const struct vmferry_cpr *cpr, size_t n, struct vmferry_cpr_vfio *vfio);
int vmferry_cpr_set_vfio(struct vmferry_cpr *cpr, const struct vmferry_cpr_vfio *vfio);

/* ---- Who has sessions -------------------------------------------------------------------- */

/*
 * The sessions that processes have open, and who has /dev/liveupdate open: the kernel can
 * not be asked, the links below /proc/PID/fd tell.
 */
struct vmferry_scan;

struct vmferry_scan_file {
	pid_t pid;
	int fd;			/* its number in that process */
	const char *comm;	/* the process's name, "" if it could not be read */
	const char *name;	/* the session's, "" if the kernel does not tell; else NULL */
};

/*
 * Look at all processes. @proc is a directory like /proc, which may be open with O_PATH; a
 * negative one stands for /proc. @device is the number of the device whose holders are
 * looked for; 0 stands for that of /dev/liveupdate. To be freed with vmferry_scan_free().
 *
 * A process that goes away meanwhile is no error. It is a look at something that changes:
 * a file that was passed on between two looks may be seen twice, or not at all.
 */
int vmferry_scan_new(int proc, dev_t device, struct vmferry_scan **scan);

/* NULL is fine. */
void vmferry_scan_free(struct vmferry_scan *scan);

/* How many processes or links could not be read: then something may be missing. */
unsigned int vmferry_scan_unreadable(const struct vmferry_scan *scan);

/* How many open sessions, and the nth, by process and number: -ERANGE if there is none. */
size_t vmferry_scan_nr_sessions(const struct vmferry_scan *scan);
int vmferry_scan_get_session(const struct vmferry_scan *scan, size_t n,
			     struct vmferry_scan_file *file);

/* The same for the device, which is open once at most, but may have been passed on. */
size_t vmferry_scan_nr_holders(const struct vmferry_scan *scan);
int vmferry_scan_get_holder(const struct vmferry_scan *scan, size_t n,
			    struct vmferry_scan_file *file);

/* ---- The next kernel --------------------------------------------------------------------- */

/*
 * Load the kernel to jump to, and forget the one that was loaded before. It is always
 * kexec_file_load(): an image of kexec_load() gets nothing of what was preserved. A negative
 * @initrd stands for none. Whether it understands what it is going to get is another
 * question, see vmferry_image_get_difference().
 *
 * The kernel's errors, for which vmferry_kexec_reason() has a sentence.
 */
int vmferry_kexec_load(int kernel, int initrd, const char *cmdline);

/* The same with files by their paths; @initrd may be NULL. */
int vmferry_kexec_load_path(const char *kernel, const char *initrd, const char *cmdline);

/* Forget the kernel that was loaded, if there is one. */
int vmferry_kexec_unload(void);

/* Why loading failed, without a full stop. Never NULL. */
const char *vmferry_kexec_reason(int err);

/*
 * What a switch like "kho" or "liveupdate" is set to, as the kernel understands it: the
 * last one wins, one with a value that is neither on nor off is ignored, and what is
 * behind " -- " is not for the kernel.
 *
 * -ENOENT  it is not there: then it is what the kernel was configured with
 * -EINVAL  it is, but is neither on nor off: the same
 */
int vmferry_cmdline_bool(const char *cmdline, const char *name, bool *value);

/*
 * A command line for the next boot from one of this boot: without what the boot loader has
 * put there (BOOT_IMAGE=, initrd= ...). To be freed with free().
 */
int vmferry_cmdline_reuse(const char *cmdline, char **reused);

/* The same from that of the running kernel. */
int vmferry_reuse_cmdline(char **cmdline);

/* ---- What kernels understand ------------------------------------------------------------- */

/*
 * The image of a kernel, of x86: the names of the formats of a live update's data that are
 * in it, like "luo-v5". A kernel that is given a format it does not know panics.
 */
struct vmferry_image;

struct vmferry_image_info {
	const char *version;	/* "7.2.12 (builder@host) #1 SMP ...", or "" */
	bool relocatable;
	bool loadable;		/* kexec_file_load() takes it */
	uint32_t cmdline_size;	/* what its command line may have, in bytes */
	uint32_t init_size;	/* memory in one piece that it takes to start, in bytes */
};

/*
 * Read an image, a bzImage that was compressed with gzip, xz, lzma, zstd or lz4. To be
 * freed with vmferry_image_free().
 *
 * -ENOEXEC     it is no such image
 * -ENODATA     the file ends too early
 * -EBADMSG     it is damaged
 * -EOPNOTSUPP  it was compressed with bzip2 or lzo
 * -E2BIG       absurdly large
 */
int vmferry_image_read(int fd, struct vmferry_image **image);

/* NULL is fine. */
void vmferry_image_free(struct vmferry_image *image);

/* Texts belong to the image. */
void vmferry_image_get_info(const struct vmferry_image *image, struct vmferry_image_info *info);

/*
 * Is it the image of this kernel? A @release of NULL stands for the running one. To be asked
 * before an image is taken for it: a package may have replaced that since.
 */
bool vmferry_image_is(const struct vmferry_image *image, const char *release,
		      const char *version);

/*
 * Add the formats that modules have, by the file modules.alias of the kernel's directory:
 * when a module is wanted for a file of a live update, the kernel asks for it.
 *
 * -E2BIG  absurdly large
 */
int vmferry_image_add_modules(struct vmferry_image *image, int fd);

/* How many formats, and the nth: -ERANGE if there is none. None at all: no live update. */
size_t vmferry_image_nr_abi(const struct vmferry_image *image);
int vmferry_image_get_abi(const struct vmferry_image *image, size_t n, const char **abi);

struct vmferry_image_difference {
	const char *writes;	/* what the one writes */
	const char *reads;	/* the newest of that kind which the other reads, or NULL */
	bool always;		/* else only if there is something of that kind */
};

/*
 * The nth format that a kernel writes and the other does not read: -ERANGE if there are no
 * more. Of those of one kind that it knows, a kernel is taken to write the newest.
 */
int vmferry_image_get_difference(const struct vmferry_image *from,
				 const struct vmferry_image *to, size_t n,
				 struct vmferry_image_difference *difference);

/* ---- The manifest of a session ----------------------------------------------------------- */

/*
 * Tokens by convention. The kernel tells neither which there are in a session nor what they
 * stand for: the manifest does, and has a token that everybody knows. What the CPR channel
 * carried needs none of its own: its files are preserved, and its names and ids are in the
 * manifest; 1 is left free for it. From the last three on there is one token for each file.
 */
#define VMFERRY_TOKEN_MANIFEST 0
#define VMFERRY_TOKEN_CPR 1		/* not used */
#define VMFERRY_TOKEN_DEVICE_STATE 2	/* a memfd with the stream of the migration */
#define VMFERRY_TOKEN_MEMORY 0x1000	/* memfds */
#define VMFERRY_TOKEN_IOMMUFD 0x2000
#define VMFERRY_TOKEN_DEVICE 0x3000	/* files of vfio devices */

/*
 * The name of the session of a virtual machine: "vm-" and the digits of its UUID, into
 * @name of VMFERRY_SESSION_NAME_MAX + 1 bytes.
 *
 * -EINVAL  it is no UUID
 */
int vmferry_vm_session_name(const char *vm_id, char *name);

/*
 * What is in a session, and what it takes to go on. Texts are UTF-8. Those that are got
 * belong to the manifest.
 */
struct vmferry_manifest;

struct vmferry_manifest_info {
	uint32_t version;	/* of the format: 1. Not looked at when it is set */
	uint32_t minor;		/* what was written may have more than is understood. Ditto */
	const char *vm_id;	/* a UUID */
	const char *vm_name;	/* may be "" */
	const char *qemu_version;
	const char *kernel_release;	/* of the kernel it was written under */
	uint64_t paused_ns;	/* when the guest was stopped, by CLOCK_MONOTONIC ... */
	uint64_t paused_real_ns;	/* ... and by CLOCK_REALTIME */
	const char *note;	/* what the writer wants to know again, or NULL */
};

/* A file of the CPR state. */
struct vmferry_manifest_file {
	const char *name;
	uint32_t id;
	const char *kind;	/* "memory", "iommufd", "device", "eventfd", or another word */
	bool preserved;		/* under this token; else the restorer makes a new one */
	uint64_t token;
	uint64_t size;		/* in bytes, of a memfd; else 0 */
};

struct vmferry_manifest_device {
	const char *name;	/* as in the CPR state */
	const char *bdf;	/* like 0000:3b:00.1 */
	uint16_t vendor, device;
	const char *driver;	/* that it is bound to */
	uint64_t token;
	uint32_t devid, ioas_id, hwpt_id;	/* what the old kernel called them */
	int32_t irq_index;	/* VFIO_PCI_MSIX_IRQ_INDEX ..., -1 if interrupts are off */
};

/* What devices see of a file, or of another device. */
struct vmferry_manifest_map {
	uint32_t ioas_id;	/* what the old kernel called it */
	uint64_t iova, length, offset;	/* in bytes */
	bool read_only;
	const char *file;	/* name and id among the files, or NULL */
	uint32_t file_id;
	const char *device;	/* name among the devices, and which BAR, or NULL */
	uint32_t bar;
};

struct vmferry_manifest_time {
	const char *name;	/* of what was reached */
	uint64_t monotonic_ns, real_ns;
	uint64_t cycles;	/* of a counter that goes on in the next kernel (TSC), or 0 */
};

/* An empty one. -ENOMEM. To be freed with vmferry_manifest_free(). */
int vmferry_manifest_new(struct vmferry_manifest **manifest);

/* NULL is fine. */
void vmferry_manifest_free(struct vmferry_manifest *manifest);

/*
 * Write it to a new memfd, which nobody can change any more, to be preserved under
 * VMFERRY_TOKEN_MANIFEST. Returns its file descriptor.
 *
 * -ENODATA  vmferry_manifest_set_info() has not been called
 * -E2BIG    it would be too large to be read
 */
int vmferry_manifest_write(const struct vmferry_manifest *manifest);

/*
 * Read what was written, from the file's start.
 *
 * -ENODATA          it ends too early
 * -EBADMSG          it is no manifest, or damaged, or says something twice
 * -EPROTONOSUPPORT  a version of the format that is not known
 * -E2BIG            absurdly large
 */
int vmferry_manifest_read(int fd, struct vmferry_manifest **manifest);

/*
 * The functions that set and add copy what they are given.
 *
 * -EINVAL  something is missing, or not what it should be
 * -EILSEQ  a text is not UTF-8
 * -EEXIST  there is one with this name and id; a device with this BDF or token; a map
 *          that has some of these addresses
 * -ENOENT  a map's file or device is not there: it has to be added first
 * -E2BIG   absurdly many, or a text that is absurdly long
 */
int vmferry_manifest_set_info(struct vmferry_manifest *manifest,
			      const struct vmferry_manifest_info *info);

/* -ENODATA if it was not set. */
int vmferry_manifest_get_info(const struct vmferry_manifest *manifest,
			      struct vmferry_manifest_info *info);

/* The arguments QEMU was started with, its name first. -ERANGE if there is no nth. */
int vmferry_manifest_add_arg(struct vmferry_manifest *manifest, const char *arg);
size_t vmferry_manifest_nr_args(const struct vmferry_manifest *manifest);
int vmferry_manifest_get_arg(const struct vmferry_manifest *manifest, size_t n,
			     const char **arg);

/* The formats of the kernel it was written under, see vmferry_image_get_abi(). */
int vmferry_manifest_add_abi(struct vmferry_manifest *manifest, const char *abi);
size_t vmferry_manifest_nr_abi(const struct vmferry_manifest *manifest);
int vmferry_manifest_get_abi(const struct vmferry_manifest *manifest, size_t n,
			     const char **abi);

/* The files of the CPR state. */
int vmferry_manifest_add_file(struct vmferry_manifest *manifest,
			      const struct vmferry_manifest_file *file);
size_t vmferry_manifest_nr_files(const struct vmferry_manifest *manifest);
int vmferry_manifest_get_file(const struct vmferry_manifest *manifest, size_t n,
			      struct vmferry_manifest_file *file);
/* By name and id: -ENOENT if there is none. */
int vmferry_manifest_find_file(const struct vmferry_manifest *manifest, const char *name,
			       uint32_t id, struct vmferry_manifest_file *file);

/* The devices. */
int vmferry_manifest_add_device(struct vmferry_manifest *manifest,
				const struct vmferry_manifest_device *device);
size_t vmferry_manifest_nr_devices(const struct vmferry_manifest *manifest);
int vmferry_manifest_get_device(const struct vmferry_manifest *manifest, size_t n,
				struct vmferry_manifest_device *device);

/* What they see. A map of a file goes no further than the file, if its size is known. */
int vmferry_manifest_add_map(struct vmferry_manifest *manifest,
			     const struct vmferry_manifest_map *map);
size_t vmferry_manifest_nr_maps(const struct vmferry_manifest *manifest);
int vmferry_manifest_get_map(const struct vmferry_manifest *manifest, size_t n,
			     struct vmferry_manifest_map *map);

/*
 * When what was reached, each once. The monotonic clock starts anew with the kernel, and the
 * real one is then only right to a second: from one kernel to the next cycles lead.
 */
int vmferry_manifest_add_time(struct vmferry_manifest *manifest,
			      const struct vmferry_manifest_time *stamp);
size_t vmferry_manifest_nr_times(const struct vmferry_manifest *manifest);
int vmferry_manifest_get_time(const struct vmferry_manifest *manifest, size_t n,
			      struct vmferry_manifest_time *stamp);

#ifdef __cplusplus
}
#endif

#endif /* VMFERRY_H */
