# SPDX-License-Identifier: GPL-2.0-only
#
# The picture of "make demo": frames received over time, one panel for each kernel. Run by
# scripts/vmdemo.py in the directory with the data, with these set: names, first, last (ms
# from reboot()), bin, textbin (ms), rate (frames a second).

set encoding utf8
set xrange [first / 1000.0 - 0.2 : last / 1000.0 + 0.2]
set style fill solid noborder
set tics nomirror out
unset key

# When one kernel has a burst, the other one must not be flattened by it.
most = 4 * rate * bin / 1000.0
title(name) = name . ' kernel'

do for [pass = 1:2] {
	if (pass == 1) {
		set terminal pngcairo size 1400,900 font 'sans,11'
		set output 'demo.png'
	} else {
		set terminal svg size 1400,900 font 'sans,11' background 'white'
		set output 'demo.svg'
	}
	set boxwidth bin / 1000.0 absolute
	set yrange [0 : most * 1.6]
	set ytics 0, most / 4, most
	set ytics add (sprintf('%d+', most) most)
	set ylabel sprintf('frames received per %d ms', bin)
	set multiplot layout words(names), 1 title \
		sprintf('%d frames a second into a passed-through network card, while the kernel is replaced', rate)
	do for [i = 1:words(names)] {
		name = word(names, i)
		set title title(name)
		set xlabel i == words(names) ? 'seconds from reboot()' : ''
		plot name . '.dat' using ($1 / 1000):($2 > most ? most : $2) with boxes lc rgb (i == 1 ? '#2e7d32' : '#c62828'), \
			name . '.marks' using ($1 / 1000):(most * 1.03) with impulses lc rgb '#606060' dt 2, \
			'' using ($1 / 1000):(most * 1.06):2 with labels left rotate by 90 font 'sans,9'
	}
	unset multiplot
	set output
}

# In the terminal, coarser and without the labels, which would not fit: letters are the marks.
most = 2 * rate * textbin / 1000.0
set terminal dumb size 96, 14 noenhanced
set boxwidth textbin / 1000.0 absolute
set yrange [0 : most * 1.3]
set ytics 0, most / 2, most
set ylabel ''
set output
do for [i = 1:words(names)] {
	name = word(names, i)
	set title sprintf('%s: frames received per %d ms', title(name), textbin)
	set xlabel i == words(names) ? 'seconds from reboot()' : ''
	plot name . '-text.dat' using ($1 / 1000):($2 > most ? most : $2) with impulses, \
		name . '.marks' using ($1 / 1000):(most * 1.15):(substr('ABCDEFGHIJKL', $0 + 1, $0 + 1)) with labels
}
