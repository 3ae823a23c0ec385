/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM pci_liveupdate

#if !defined(_TRACE_PCI_LIVEUPDATE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_PCI_LIVEUPDATE_H

#include <linux/pci.h>
#include <linux/tracepoint.h>

/*
 * One event a step in the life of a preserved device: preserve, unpreserve,
 * freeze, unfreeze, incoming, retrieve, finish, abandon, lost. @err is 0 or the
 * negative errno with which the step ended.
 */
TRACE_EVENT(pci_liveupdate_step,
	    TP_PROTO(struct pci_dev *dev, const char *step, int err),
	    TP_ARGS(dev, step, err),
	    TP_STRUCT__entry(__string(name, pci_name(dev))
			     __string(step, step)
			     __field(int, err)
	    ),
	    TP_fast_assign(__assign_str(name);
			   __assign_str(step);
			   __entry->err = err;
	    ),
	    TP_printk("%s: %s: %d", __get_str(name), __get_str(step),
		      __entry->err)
);

/* A write to the configuration space of an incoming device that did not reach it. */
TRACE_EVENT(pci_liveupdate_shielded,
	    TP_PROTO(const struct pci_dev *dev, int where, int size, u32 val),
	    TP_ARGS(dev, where, size, val),
	    TP_STRUCT__entry(__string(name, pci_name(dev))
			     __field(int, where)
			     __field(int, size)
			     __field(u32, val)
	    ),
	    TP_fast_assign(__assign_str(name);
			   __entry->where = where;
			   __entry->size = size;
			   __entry->val = val;
	    ),
	    TP_printk("%s: %#05x, %d bytes: %#x", __get_str(name), __entry->where,
		      __entry->size, __entry->val)
);

#endif /* _TRACE_PCI_LIVEUPDATE_H */

#include <trace/define_trace.h>
