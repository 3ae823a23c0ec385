// SPDX-License-Identifier: LGPL-2.1-or-later
#include "timeline.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

#define JSON_VERSION 1
/* Two stamps tell how fast the counter is if they are so far apart. */
#define RATE_NS 10000000
/* And what two kernels say of it may differ by a tenth: each has measured it for itself. */
#define TOLERANCE 0.1
#define PACKETS_BIN_MS 10
/* What a picture can have; beyond, the bins get wider. */
#define BINS_MAX 10000
#define WIDTH_MIN 60

static const char * const mark_names[TIMELINE_MARKS] = {
	[TIMELINE_BEGIN] = "begin", [TIMELINE_RECEIVED] = "received",
	[TIMELINE_PRESERVED] = "preserved", [TIMELINE_PAUSED] = "paused",
	[TIMELINE_STOPPED] = "stopped", [TIMELINE_JUMP] = "jump", [TIMELINE_BOOT] = "boot",
	[TIMELINE_COMMAND] = "command", [TIMELINE_RESTORE] = "restore",
	[TIMELINE_RETRIEVED] = "retrieved", [TIMELINE_REBUILT] = "rebuilt",
	[TIMELINE_STARTED] = "started", [TIMELINE_RUNNING] = "running",
};

/* From the end of one to that of the next. */
static const struct {
	const char *name;
	enum timeline_mark end;
	bool runs;
	const char *colour;
} phases[TIMELINE_PHASES] = {
	{ "receive", TIMELINE_RECEIVED, true, "#c5e1a5" },
	{ "preserve", TIMELINE_PRESERVED, true, "#7cb342" },
	/* Until the place for the devices' state is ready. */
	{ "prepare", TIMELINE_PAUSED, true, "#33691e" },
	{ "capture", TIMELINE_STOPPED, false, "#ffb300" },
	{ "wait", TIMELINE_JUMP, false, "#bdbdbd" },
	{ "freeze and jump", TIMELINE_BOOT, false, "#c62828" },
	{ "kernel boot", TIMELINE_COMMAND, false, "#5e35b1" },
	/* Until it is this one's turn. */
	{ "wait again", TIMELINE_RESTORE, false, "#9e9e9e" },
	{ "retrieve", TIMELINE_RETRIEVED, false, "#0277bd" },
	{ "rebuild", TIMELINE_REBUILT, false, "#00acc1" },
	{ "replay", TIMELINE_RUNNING, false, "#00796b" },
};

/* ---- From stamps to phases --------------------------------------------------------------- */

void timeline_take(struct timeline_vm *vm, const struct vmferry_manifest *manifest)
{
	struct stamp *paused = &vm->marks[TIMELINE_PAUSED], *stopped = &vm->marks[TIMELINE_STOPPED];
	struct vmferry_manifest_info info;

	for (size_t n = 0; n < vmferry_manifest_nr_times(manifest); n++) {
		struct vmferry_manifest_time stamp;

		vmferry_manifest_get_time(manifest, n, &stamp);
		for (size_t mark = 0; mark < TIMELINE_JUMP; mark++) {
			if (strcmp(stamp.name, mark_names[mark]))
				continue;
			vm->marks[mark] = (struct stamp){
				true, stamp.monotonic_ns, stamp.real_ns, stamp.cycles,
			};
		}
	}
	/* Where it has no stamp of its own. */
	if (!paused->known && stopped->known && !vmferry_manifest_get_info(manifest, &info) &&
	    info.paused_ns && info.paused_ns <= stopped->monotonic_ns)
		*paused = (struct stamp){
			.known = true, .monotonic_ns = info.paused_ns,
			.real_ns = stopped->real_ns - (stopped->monotonic_ns - info.paused_ns),
		};
}

/* From one to another, of the same kernel. They may be anything, but that does not hurt. */
static double between(uint64_t from, uint64_t to)
{
	return (int64_t)(to - from);
}

/* The stamps of one kernel that are worth something: the first and the last with cycles. */
struct ends {
	const struct stamp *first, *last;	/* with cycles */
	const struct stamp *early, *late;	/* with or without */
};

static struct ends find_ends(const struct timeline_vm *vms, size_t nr, enum timeline_mark from,
			     enum timeline_mark to)
{
	struct ends ends = {};

	for (size_t n = 0; n < nr; n++) {
		for (size_t mark = from; mark <= to; mark++) {
			const struct stamp *stamp = &vms[n].marks[mark];

			if (!stamp->known)
				continue;
			if (!ends.early || stamp->monotonic_ns < ends.early->monotonic_ns)
				ends.early = stamp;
			if (!ends.late || stamp->monotonic_ns > ends.late->monotonic_ns)
				ends.late = stamp;
			if (!stamp->cycles)
				continue;
			if (!ends.first || stamp->monotonic_ns < ends.first->monotonic_ns)
				ends.first = stamp;
			if (!ends.last || stamp->monotonic_ns > ends.last->monotonic_ns)
				ends.last = stamp;
		}
	}
	return ends;
}

/* How many cycles a nanosecond has; 0 if that cannot be told, -1 if it has stood still. */
static double rate(const struct ends *ends)
{
	if (!ends->first || ends->last->monotonic_ns - ends->first->monotonic_ns < RATE_NS)
		return 0;
	if (ends->last->cycles <= ends->first->cycles)
		return -1;
	return between(ends->first->cycles, ends->last->cycles) /
	       between(ends->first->monotonic_ns, ends->last->monotonic_ns);
}

/* What to add to the new kernel's CLOCK_MONOTONIC to have that of the old one. */
struct shift {
	double ns;
	bool exact;
};

/* When the new kernel began, after the last that is known of the old one. */
static double boot_after(const struct ends *old, const struct stamp *boot, double shift)
{
	return boot->known ? boot->monotonic_ns + shift - old->late->monotonic_ns : 0;
}

static struct shift find_shift(const struct ends *old, const struct ends *new,
			       const struct stamp *boot)
{
	double then = rate(old), now = rate(new), speed = then > 0 ? then : now, after;
	struct shift shift = {};

	if (old->last && new->first && speed > 0 &&
	    new->first->cycles > old->last->cycles &&
	    (!then || !now || fabs(then / now - 1) < TOLERANCE)) {
		shift.exact = true;
		shift.ns = old->last->monotonic_ns - (double)new->first->monotonic_ns +
			   between(old->last->cycles, new->first->cycles) / speed;
		/* Clocks that differ by that much are no clocks. */
		after = boot_after(old, boot, shift.ns);
		if (after < -TOLERANCE * between(boot->monotonic_ns, new->first->monotonic_ns))
			shift.exact = false;
	}
	if (!shift.exact) {
		shift.ns = old->late->monotonic_ns - (double)new->early->monotonic_ns +
			   between(old->late->real_ns, new->early->real_ns);
		/* It cannot have begun before it was jumped to. */
		after = boot_after(old, boot, shift.ns);
		if (after < 0)
			shift.ns -= after;
	}
	return shift;
}

/* Nanoseconds of the old kernel's CLOCK_MONOTONIC, to milliseconds from @origin. */
static void place(const struct timeline_vm *vm, const struct shift *shift, double origin,
		  struct timeline_lane *lane)
{
	double last = -INFINITY;

	lane->name = vm->name;
	for (size_t mark = 0; mark < TIMELINE_MARKS; mark++) {
		const struct stamp *stamp = &vm->marks[mark];
		double at = stamp->monotonic_ns - origin;

		lane->at_ms[mark] = NAN;
		if (!stamp->known)
			continue;
		if (mark >= TIMELINE_BOOT)
			at += shift->ns;
		at /= 1e6;
		/* Until it has a timer, a kernel's clock does not count what passes. */
		if (mark == TIMELINE_BOOT && at < last)
			at = last;
		if (at < last)
			continue;
		lane->at_ms[mark] = last = at;
	}
}

static void add_phase(struct timeline_lane *lane, size_t first, size_t last, double from,
		      double to)
{
	struct timeline_phase *phase = &lane->phases[lane->nr++];
	size_t len = 0;

	*phase = (struct timeline_phase){
		.kind = last, .runs = phases[last].runs, .from_ms = from, .ms = to - from,
	};
	for (size_t n = first; n <= last && len < sizeof(phase->name); n++)
		len += snprintf(phase->name + len, sizeof(phase->name) - len, "%s%s",
				n > first ? ", " : "", phases[n].name);
}

static void divide(struct timeline_lane *lane)
{
	double from = lane->at_ms[TIMELINE_BEGIN];
	size_t first = 0;

	for (size_t n = 0; n < TIMELINE_PHASES; n++) {
		double to = lane->at_ms[phases[n].end];

		/* It becomes a part of the next one. When the guest stopped is no such thing. */
		if (isnan(to) && phases[n].end != TIMELINE_PAUSED)
			continue;
		if (!isnan(from) && !isnan(to))
			add_phase(lane, first, n, from, to);
		from = to;
		first = n + 1;
	}
	lane->pause_ms = lane->at_ms[TIMELINE_RUNNING] - lane->at_ms[TIMELINE_PAUSED];
}

/* When the first guest stopped; else the first thing that is known. */
static double find_origin(const struct timeline_vm *vms, size_t nr, const struct ends *old)
{
	double origin = NAN;

	for (size_t n = 0; n < nr; n++)
		if (vms[n].marks[TIMELINE_PAUSED].known)
			origin = fmin(origin, vms[n].marks[TIMELINE_PAUSED].monotonic_ns);
	return isnan(origin) ? old->early->monotonic_ns : origin;
}

int timeline_new(const struct timeline_vm *vms, size_t nr, struct timeline **timeline)
{
	struct ends old = find_ends(vms, nr, TIMELINE_BEGIN, TIMELINE_JUMP);
	struct ends new = find_ends(vms, nr, TIMELINE_COMMAND, TIMELINE_RUNNING);
	struct timeline *line;
	struct shift shift;
	double origin;

	if (!old.early || !new.early)
		return -ENODATA;
	line = calloc(1, sizeof(*line));
	if (line)
		line->lanes = calloc(nr, sizeof(*line->lanes));
	if (!line || !line->lanes) {
		free(line);
		return -ENOMEM;
	}
	shift = find_shift(&old, &new, &vms[0].marks[TIMELINE_BOOT]);
	origin = find_origin(vms, nr, &old);
	line->nr = nr;
	line->exact = shift.exact;
	line->real_ns = old.late->real_ns;
	line->real_at_ms = (old.late->monotonic_ns - origin) / 1e6;
	line->first_ms = line->last_ms = NAN;
	for (size_t n = 0; n < nr; n++) {
		struct timeline_lane *lane = &line->lanes[n];

		place(&vms[n], &shift, origin, lane);
		divide(lane);
		for (size_t mark = 0; mark < TIMELINE_MARKS; mark++) {
			line->first_ms = fmin(line->first_ms, lane->at_ms[mark]);
			line->last_ms = fmax(line->last_ms, lane->at_ms[mark]);
		}
	}
	*timeline = line;
	return 0;
}

void timeline_free(struct timeline *timeline)
{
	if (!timeline)
		return;
	free(timeline->lanes);
	free(timeline);
}

/* ---- Packets ----------------------------------------------------------------------------- */

void packets_free(struct packets *packets)
{
	free(packets->ns);
	*packets = (struct packets){};
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits, maybe a point and digits, of which those behind the ninth do not count. */
static int parse_seconds(const char *text, const char *end, uint64_t *ns)
{
	const char *point;
	uint64_t val = 0;

	if (text == end || !is_digit(*text))
		return -EBADMSG;
	for (; text < end && is_digit(*text); text++)
		if (__builtin_mul_overflow(val, 10, &val) ||
		    __builtin_add_overflow(val, *text - '0', &val))
			return -EBADMSG;
	if (__builtin_mul_overflow(val, 1000000000, &val))
		return -EBADMSG;
	if (text < end && *text == '.') {
		uint64_t unit = 100000000;

		for (point = text++; text < end && is_digit(*text); text++, unit /= 10)
			if (__builtin_add_overflow(val, unit * (*text - '0'), &val))
				return -EBADMSG;
		if (text == point + 1)
			return -EBADMSG;
	}
	*ns = val;
	return text == end ? 0 : -EBADMSG;
}

static int add_packet(struct packets *packets, const char *text, size_t len)
{
	const char *end = text + len;
	uint64_t ns;
	int err;

	while (text < end && is_blank(*text))
		text++;
	while (end > text && is_blank(end[-1]))
		end--;
	if (text == end || *text == '#')
		return 0;
	err = parse_seconds(text, end, &ns);
	if (!err)
		err = grow(&packets->ns, packets->nr, sizeof(*packets->ns));
	if (!err)
		packets->ns[packets->nr++] = ns;
	return err;
}

int packets_read(FILE *file, struct packets *packets, size_t *line)
{
	char *text = NULL;
	size_t size = 0;
	ssize_t len;
	int err = 0;

	*packets = (struct packets){};
	for (*line = 1; !err; ++*line) {
		errno = 0;
		len = getline(&text, &size, file);
		if (len < 0) {
			/* Nothing but the end has no errno. */
			err = ferror(file) && !errno ? -EIO : -errno;
			break;
		}
		err = add_packet(packets, text, len);
		if (err)
			break;
	}
	free(text);
	if (err)
		packets_free(packets);
	return err;
}

/* How many there are in each of @nr pieces from @first to @last. */
static void count(const struct timeline *timeline, const struct packets *packets, double first,
		  double last, unsigned int *counts, size_t nr)
{
	for (size_t n = 0; n < packets->nr; n++) {
		double at = between(timeline->real_ns, packets->ns[n]) / 1e6 +
			    timeline->real_at_ms;

		if (at >= first && at < last) {
			size_t bin = (at - first) / (last - first) * nr;

			counts[bin < nr ? bin : nr - 1]++;
		}
	}
}

/* In equal bins, of PACKETS_BIN_MS if it can be. */
struct bins {
	double first_ms, ms;
	unsigned int *counts, most;
	size_t nr;
};

static int make_bins(const struct timeline *timeline, const struct packets *packets,
		     struct bins *bins)
{
	double span;

	bins->ms = PACKETS_BIN_MS;
	bins->first_ms = floor(timeline->first_ms / bins->ms) * bins->ms;
	span = timeline->last_ms - bins->first_ms;
	if (span / bins->ms >= BINS_MAX)
		bins->ms = span / (BINS_MAX - 1);
	bins->nr = span / bins->ms + 1;
	bins->most = 0;
	bins->counts = calloc(bins->nr, sizeof(*bins->counts));
	if (!bins->counts)
		return -ENOMEM;
	count(timeline, packets, bins->first_ms, bins->first_ms + bins->nr * bins->ms,
	      bins->counts, bins->nr);
	for (size_t n = 0; n < bins->nr; n++)
		if (bins->counts[n] > bins->most)
			bins->most = bins->counts[n];
	return 0;
}

/* ---- Text -------------------------------------------------------------------------------- */

static void text_bar(FILE *out, const struct timeline *timeline,
		     const struct timeline_phase *phase, unsigned int columns)
{
	double scale = columns / fmax(timeline->last_ms - timeline->first_ms, 1e-6);
	unsigned int from = (phase->from_ms - timeline->first_ms) * scale;
	unsigned int to = (phase->from_ms + phase->ms - timeline->first_ms) * scale;

	/* However short it was, it is to be seen. */
	if (from >= columns)
		from = columns - 1;
	if (to <= from)
		to = from + 1;
	if (to > columns)
		to = columns;
	fputc('|', out);
	for (unsigned int n = 0; n < columns; n++)
		fputc(n < from || n >= to ? ' ' : phase->runs ? '=' : '#', out);
	fputs("|\n", out);
}

static void text_packets(FILE *out, const struct timeline *timeline,
			 const struct packets *packets, unsigned int *counts,
			 unsigned int columns)
{
	static const char levels[] = ".:-=+*%@";
	double ms = (timeline->last_ms - timeline->first_ms) / columns;
	unsigned int most = 0, all = 0;

	count(timeline, packets, timeline->first_ms, timeline->last_ms, counts, columns);
	for (unsigned int n = 0; n < columns; n++) {
		all += counts[n];
		if (counts[n] > most)
			most = counts[n];
	}
	fprintf(out, "  %-15s %10u %10s  |", "packets", all, "");
	for (unsigned int n = 0; n < columns; n++)
		fputc(counts[n] ? levels[(sizeof(levels) - 2) * (uint64_t)counts[n] / most] : ' ',
		      out);
	fprintf(out, "|\n  one column: %.1f ms, and at most %u packets (%c)\n", ms, most,
		levels[sizeof(levels) - 2]);
}

char *timeline_text(const struct timeline *timeline, const struct packets *packets,
		    unsigned int width)
{
	unsigned int columns = (width < WIDTH_MIN ? WIDTH_MIN : width) - 43, *counts;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool failed;

	counts = calloc(columns, sizeof(*counts));
	if (!out || !counts) {
		free(counts);
		if (out)
			fclose(out);
		free(text);
		return NULL;
	}
	for (size_t n = 0; n < timeline->nr; n++) {
		const struct timeline_lane *lane = &timeline->lanes[n];

		fprintf(out, "%s: ", lane->name);
		if (isnan(lane->pause_ms))
			fputs("for how long the guest stood still is not known\n", out);
		else
			fprintf(out, "the guest stood still for %.1f ms\n", lane->pause_ms);
		fprintf(out, "  %-15s %10s %10s\n", "", "from", "ms");
		for (size_t i = 0; i < lane->nr; i++) {
			const struct timeline_phase *phase = &lane->phases[i];

			/* Those of several phases get a line of their own. */
			fprintf(out, "  %-15s", phase->name);
			if (strlen(phase->name) > 15)
				fprintf(out, "\n  %-15s", "");
			fprintf(out, " %10.1f %10.1f  ", phase->from_ms, phase->ms);
			text_bar(out, timeline, phase, columns);
		}
	}
	if (packets)
		text_packets(out, timeline, packets, counts, columns);
	if (!timeline->exact)
		fputs("No counter goes on from one kernel to the next: what lies between them is "
		      "only right to a second.\n", out);
	failed = ferror(out);
	free(counts);
	if (fclose(out) || failed) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- JSON -------------------------------------------------------------------------------- */

/* Microseconds are enough for everybody, and more digits for nobody. */
static struct json_object *json_ms(double ms)
{
	char text[64];

	if (isnan(ms))
		return NULL;
	snprintf(text, sizeof(text), "%.3f", ms);
	return json_object_new_double_s(ms, text);
}

void timeline_json(const struct timeline *timeline, size_t n, struct json_object *object)
{
	struct json_object *list = json_object_new_array(), *marks = json_object_new_object();
	const struct timeline_lane *lane = &timeline->lanes[n];

	for (size_t i = 0; i < lane->nr; i++) {
		const struct timeline_phase *phase = &lane->phases[i];
		struct json_object *entry = json_object_new_object();

		json_object_object_add(entry, "name", json_object_new_string(phase->name));
		json_object_object_add(entry, "from_ms", json_ms(phase->from_ms));
		json_object_object_add(entry, "ms", json_ms(phase->ms));
		json_object_object_add(entry, "runs", json_object_new_boolean(phase->runs));
		json_object_array_add(list, entry);
	}
	for (size_t mark = 0; mark < TIMELINE_MARKS; mark++)
		if (!isnan(lane->at_ms[mark]))
			json_object_object_add(marks, mark_names[mark],
					       json_ms(lane->at_ms[mark]));
	json_object_object_add(object, "pause_ms", json_ms(lane->pause_ms));
	json_object_object_add(object, "exact", json_object_new_boolean(timeline->exact));
	json_object_object_add(object, "timeline", list);
	json_object_object_add(object, "marks", marks);
}

struct json_object *timeline_json_all(const struct timeline *timeline,
				      const struct packets *packets)
{
	struct json_object *root = json_object_new_object(), *list = json_object_new_array();
	struct bins bins;

	json_object_object_add(root, "version", json_object_new_int(JSON_VERSION));
	for (size_t n = 0; n < timeline->nr; n++) {
		struct json_object *object = json_object_new_object();

		json_object_object_add(object, "vm",
				       json_object_new_string(timeline->lanes[n].name));
		timeline_json(timeline, n, object);
		json_object_array_add(list, object);
	}
	json_object_object_add(root, "vms", list);
	if (packets && !make_bins(timeline, packets, &bins)) {
		struct json_object *object = json_object_new_object();

		list = json_object_new_array();
		for (size_t n = 0; n < bins.nr; n++)
			json_object_array_add(list, json_object_new_int64(bins.counts[n]));
		json_object_object_add(object, "from_ms", json_ms(bins.first_ms));
		json_object_object_add(object, "bin_ms", json_ms(bins.ms));
		json_object_object_add(object, "counts", list);
		json_object_object_add(root, "packets", object);
		free(bins.counts);
	}
	return root;
}

/* ---- gnuplot ----------------------------------------------------------------------------- */

/* How a kind of phase is called in the legend: with its length, if there is one only. */
static void legend(const struct timeline *timeline, unsigned int kind, FILE *out)
{
	for (size_t n = 0; n < timeline->nr; n++) {
		const struct timeline_lane *lane = &timeline->lanes[n];

		for (size_t i = 0; i < lane->nr; i++) {
			if (lane->phases[i].kind != kind)
				continue;
			fprintf(out, "%s", lane->phases[i].name);
			if (timeline->nr == 1)
				fprintf(out, " %.1f ms", lane->phases[i].ms);
			return;
		}
	}
}

static bool has_kind(const struct timeline *timeline, unsigned int kind)
{
	for (size_t n = 0; n < timeline->nr; n++)
		for (size_t i = 0; i < timeline->lanes[n].nr; i++)
			if (timeline->lanes[n].phases[i].kind == kind)
				return true;
	return false;
}

static void plot_lanes(const struct timeline *timeline, FILE *out)
{
	const char *separator = "plot ";

	for (unsigned int kind = 0; kind < TIMELINE_PHASES; kind++) {
		fprintf(out, "$phase%u << EOD\n", kind);
		for (size_t n = 0; n < timeline->nr; n++)
			for (size_t i = 0; i < timeline->lanes[n].nr; i++) {
				const struct timeline_phase *phase = &timeline->lanes[n].phases[i];

				if (phase->kind == kind)
					fprintf(out, "%.3f %.3f %zu\n", phase->from_ms,
						phase->from_ms + phase->ms, n);
			}
		fputs("EOD\n", out);
	}
	/* A virtual machine's name has no character that means anything to gnuplot. */
	fputs("set ytics (", out);
	for (size_t n = 0; n < timeline->nr; n++)
		fprintf(out, "%s'%s' %zu", n ? ", " : "", timeline->lanes[n].name, n);
	fprintf(out, ")\nset yrange [%.2f:-0.6]\n", timeline->nr - 0.4);
	for (size_t n = 0; n < timeline->nr; n++)
		if (!isnan(timeline->lanes[n].pause_ms))
			fprintf(out, "set label 'stood still for %.1f ms' at %.3f, %.2f left\n",
				timeline->lanes[n].pause_ms,
				timeline->lanes[n].at_ms[TIMELINE_PAUSED], n - 0.45);
	for (unsigned int kind = 0; kind < TIMELINE_PHASES; kind++) {
		/* gnuplot does not take a block without data. */
		if (!has_kind(timeline, kind))
			continue;
		fprintf(out, "%s$phase%u using 1:3:1:2:($3-0.3):($3+0.3) with boxxyerror "
			"fillcolor rgb '%s' fill solid border lc rgb '%s' title '", separator,
			kind, phases[kind].colour, phases[kind].colour);
		legend(timeline, kind, out);
		fputs("'", out);
		separator = ", \\\n\t";
	}
	fputc('\n', out);
}

int timeline_gnuplot(const struct timeline *timeline, const struct packets *packets,
		     const char *kind, FILE *out)
{
	bool png = !strcmp(kind, "png");
	unsigned int height = 200 + 60 * timeline->nr, below = packets ? 260 : 0;
	double all = height + below, margin, left = 0.1;
	struct bins bins = {};
	int err;

	if (packets) {
		err = make_bins(timeline, packets, &bins);
		if (err)
			return err;
	}
	/* Long names have room, too. */
	for (size_t n = 0; n < timeline->nr; n++)
		left = fmax(left, fmin(0.5, (strlen(timeline->lanes[n].name) * 8 + 30) / 1200.0));
	margin = fmax(timeline->last_ms - timeline->first_ms, 1) * 0.02;
	fprintf(out, "set encoding utf8\nset terminal %s size 1200,%.0f noenhanced font 'sans,11' "
		"background 'white'\n", png ? "pngcairo" : "svg", all);
	fprintf(out, "set multiplot\nset lmargin at screen %.4f\nset rmargin at screen 0.97\n"
		"set xrange [%.3f:%.3f]\nset tics nomirror out\n", left,
		timeline->first_ms - margin, timeline->last_ms + margin);
	fprintf(out, "set tmargin at screen %.4f\nset bmargin at screen %.4f\n"
		"set key at screen 0.97, %.4f right top horizontal maxrows 3\n",
		1 - 100 / all, (below + 55) / all, 1 - 8 / all);
	fprintf(out, "set xlabel 'ms since the %s stopped%s'\n",
		timeline->nr == 1 ? "guest" : "first guest", timeline->exact ? "" :
		"; between the kernels only right to a second");
	plot_lanes(timeline, out);
	if (packets) {
		fprintf(out, "unset label\nunset key\nset tmargin at screen %.4f\n"
			"set bmargin at screen %.4f\nset xlabel ''\nset ytics autofreq\n"
			"set yrange [0:%.1f]\nset ylabel 'packets per %.0f ms'\n"
			"set boxwidth %.3f absolute\nset style fill solid noborder\n"
			"$packets << EOD\n", (below - 15) / all, 30 / all,
			bins.most ? bins.most * 1.1 : 1, bins.ms, bins.ms);
		for (size_t n = 0; n < bins.nr; n++)
			fprintf(out, "%.3f %u\n", bins.first_ms + (n + 0.5) * bins.ms,
				bins.counts[n]);
		fputs("EOD\nplot $packets using 1:2 with boxes fillcolor rgb '#37474f'\n", out);
		free(bins.counts);
	}
	fputs("unset multiplot\n", out);
	return ferror(out) ? -EIO : 0;
}
