// SPDX-License-Identifier: GPL-2.0-only
/*
 * /init of a Linux guest that has a network card and an NVMe drive passed through: it
 * receives numbered frames, writes and reads the drive, counts, and watches its kernel's log.
 * Several times a second it says on its console how it is doing, in one line:
 *
 *	GUEST boot=<id> tick=<n> frames=<n> missing=<n> bad=<n> ended=<0|1>
 *	      reads=<n> writes=<n> wrong=<n> errors=<n> nic=<n> nvme=<n> complaints=<n> end
 *
 * nic and nvme are interrupts by MSI-X. The frames are those of scripts/vmtest.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>

#define STATUS_MS	200
#define DISK		"/dev/nvme0n1"
#define BLOCK		4096u
#define THREADS		4u
#define BLOCKS		64u		/* of each thread */
#define RING		4096u		/* frames that may come while nobody looks */

#define FRAME_TYPE	0x88b5
#define FRAME_MAGIC	0x6d727473u
#define FRAME_LAST	0x1u

/* The CRC-32 of all before it is in the last four bytes. */
struct frame {
	uint8_t dest[6], source[6];
	uint16_t type, id;
	uint32_t magic, flags;
	uint64_t number;
} __attribute__((packed));

static uint64_t tick, frames, missing, bad, expected, complaints;
static bool ended;
static _Atomic uint64_t nr_reads, nr_writes, nr_wrong, nr_errors;

static void __attribute__((noreturn)) die(const char *what)
{
	printf("GUEST dies: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	for (;;)
		pause();
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000ull + ts.tv_nsec / 1000000;
}

/* ---- The network card ------------------------------------------------------------------ */

static uint32_t crc32(const uint8_t *data, size_t len)
{
	static uint32_t table[256];
	uint32_t crc = ~0u;

	for (uint32_t n = 0; !table[255] && n < 256; n++) {
		uint32_t entry = n;

		for (int bit = 0; bit < 8; bit++)
			entry = entry >> 1 ^ (entry & 1 ? 0xedb88320u : 0);
		table[n] = entry;
	}
	while (len--)
		crc = crc >> 8 ^ table[(uint8_t)(crc ^ *data++)];
	return ~crc;
}

/* The interface that is not the loopback, or false. */
static bool find_interface(char *name)
{
	DIR *dir = opendir("/sys/class/net");
	struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		found = *entry->d_name != '.' && strcmp(entry->d_name, "lo");
		if (found)
			snprintf(name, IFNAMSIZ, "%.*s", IFNAMSIZ - 1, entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

static bool interface_runs(int sock, struct ifreq *ifr)
{
	return !ioctl(sock, SIOCGIFFLAGS, ifr) && ifr->ifr_flags & IFF_RUNNING;
}

static int open_interface(void)
{
	struct sockaddr_ll addr = {
		.sll_family = AF_PACKET, .sll_protocol = htons(FRAME_TYPE),
	};
	struct ethtool_ringparam ring = { .cmd = ETHTOOL_GRINGPARAM };
	struct ifreq ifr = {};
	int sock, size = 32 << 20;

	if (!find_interface(ifr.ifr_name))
		return -1;
	/* Nothing arrives before the interface is chosen. */
	sock = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK, 0);
	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)))
		die("socket");
	ifr.ifr_data = (char *)&ring;
	if (ioctl(sock, SIOCETHTOOL, &ifr))
		die("ring");
	ring.cmd = ETHTOOL_SRINGPARAM;
	ring.rx_pending = RING;
	if (ioctl(sock, SIOCETHTOOL, &ifr))
		die("a larger ring");
	if (ioctl(sock, SIOCGIFFLAGS, &ifr))
		die("flags");
	ifr.ifr_flags |= IFF_UP | IFF_PROMISC;
	if (ioctl(sock, SIOCSIFFLAGS, &ifr))
		die("up");
	while (!interface_runs(sock, &ifr))
		usleep(10000);
	if (ioctl(sock, SIOCGIFINDEX, &ifr))
		die("index");
	addr.sll_ifindex = ifr.ifr_ifindex;
	if (bind(sock, (struct sockaddr *)&addr, sizeof(addr)))
		die("bind");
	return sock;
}

static void look_at(const uint8_t *data, size_t len)
{
	struct frame frame;
	uint32_t crc;

	if (len < sizeof(frame) + sizeof(crc)) {
		bad++;
		return;
	}
	memcpy(&frame, data, sizeof(frame));
	memcpy(&crc, data + len - sizeof(crc), sizeof(crc));
	if (frame.magic != FRAME_MAGIC || crc != crc32(data, len - sizeof(crc)) ||
	    (frames && frame.number < expected)) {
		bad++;
		return;
	}
	if (frames)
		missing += frame.number - expected;
	expected = frame.number + 1;
	frames++;
	ended = ended || frame.flags & FRAME_LAST;
}

static void receive(int sock)
{
	static uint8_t data[2048];
	ssize_t len;

	while ((len = recv(sock, data, sizeof(data), 0)) >= 0)
		look_at(data, len);
}

/* ---- The drive --------------------------------------------------------------------------- */

static void fill(uint32_t *block, uint32_t number, uint32_t generation)
{
	uint32_t value = number * 2654435761u ^ generation;

	for (uint32_t n = 0; n < BLOCK / 4; n++)
		block[n] = value = value * 1664525 + 1013904223;
}

/* Each has blocks of its own. What was written last is what must be read. */
static void *use_disk(void *arg)
{
	uint32_t first = (uint32_t)(uintptr_t)arg * BLOCKS, generation[BLOCKS] = {}, seed = first;
	uint32_t *block = aligned_alloc(BLOCK, BLOCK), *want = aligned_alloc(BLOCK, BLOCK);
	int fd = open(DISK, O_RDWR | O_DIRECT);

	if (fd < 0 || !block || !want)
		die(DISK);
	for (;;) {
		uint32_t n = (seed = seed * 1664525 + 1013904223) >> 8;
		bool write = n & BLOCKS;
		off_t pos;

		n %= BLOCKS;
		pos = (off_t)(first + n) * BLOCK;
		if (!generation[n] || write) {
			fill(block, first + n, generation[n] + 1);
			if (pwrite(fd, block, BLOCK, pos) == BLOCK) {
				generation[n]++;
				nr_writes++;
			} else {
				nr_errors++;
			}
		} else if (pread(fd, block, BLOCK, pos) == BLOCK) {
			fill(want, first + n, generation[n]);
			nr_wrong += memcmp(block, want, BLOCK) != 0;
			nr_reads++;
		} else {
			nr_errors++;
		}
	}
	return NULL;
}

/* ---- The kernel ---------------------------------------------------------------------------- */

/* Interrupts by MSI-X that have @name in their line. */
static uint64_t interrupts(const char *name)
{
	static char line[4096];
	FILE *file = fopen("/proc/interrupts", "re");
	uint64_t sum = 0;

	while (file && fgets(line, sizeof(line), file)) {
		char *pos = strchr(line, ':');

		if (pos && strstr(pos, "MSIX") && strstr(pos, name))
			sum += strtoull(pos + 1, NULL, 10);
	}
	if (file)
		fclose(file);
	return sum;
}

/* What would tell of a device that did not go on as if nothing had happened. */
static void look_at_log(int kmsg)
{
	static const char * const words[] = {
		"reset", "Reset", "timeout", "imed out", "I/O error", "Link is", "irq ", "AER",
		"hung", "WARNING", "BUG",
	};
	char text[2048];
	ssize_t len;

	while ((len = read(kmsg, text, sizeof(text) - 1)) > 0 || errno == EPIPE) {
		const char *said;

		if (len <= 0)
			continue;
		text[len] = 0;
		said = strchr(text, ';');
		for (size_t n = 0; said && n < sizeof(words) / sizeof(words[0]); n++) {
			if (!strstr(said, words[n]))
				continue;
			printf("GUEST log: %.*s\n", (int)strcspn(said + 1, "\n"), said + 1);
			complaints++;
			break;
		}
	}
}

static void say(const char *boot)
{
	printf("GUEST boot=%s tick=%llu frames=%llu missing=%llu bad=%llu ended=%d reads=%llu "
	       "writes=%llu wrong=%llu errors=%llu nic=%llu nvme=%llu complaints=%llu end\n",
	       boot, (unsigned long long)++tick, (unsigned long long)frames,
	       (unsigned long long)missing, (unsigned long long)bad, ended,
	       (unsigned long long)nr_reads, (unsigned long long)nr_writes,
	       (unsigned long long)nr_wrong, (unsigned long long)nr_errors,
	       (unsigned long long)interrupts("eth"), (unsigned long long)interrupts("nvme0q"),
	       (unsigned long long)complaints);
	fflush(stdout);
}

int main(void)
{
	char boot[64] = "";
	uint64_t next = 0;
	int sock, kmsg, fd;

	if (mount("proc", "/proc", "proc", 0, NULL) || mount("sysfs", "/sys", "sysfs", 0, NULL))
		die("mount");
	if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) && errno != EBUSY)
		die("mount /dev");
	fd = open("/dev/console", O_WRONLY);
	if (fd >= 0)
		dup2(fd, STDOUT_FILENO);
	fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY);
	if (fd < 0 || read(fd, boot, sizeof(boot) - 1) <= 0)
		die("boot_id");
	close(fd);
	boot[strcspn(boot, "\n")] = 0;
	sock = open_interface();
	for (uintptr_t n = 0; !access(DISK, F_OK) && n < THREADS; n++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, use_disk, (void *)n))
			die("thread");
	}
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	if (kmsg < 0 || lseek(kmsg, 0, SEEK_END) < 0)
		die("kmsg");
	for (;;) {
		struct pollfd pfd = { .fd = sock, .events = POLLIN };
		uint64_t now = now_ms();

		if (now >= next) {
			look_at_log(kmsg);
			say(boot);
			next = now + STATUS_MS;
		}
		poll(&pfd, 1, next > now ? next - now : 0);
		if (sock >= 0)
			receive(sock);
	}
}
